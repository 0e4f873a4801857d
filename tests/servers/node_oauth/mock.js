// npm oauth2-mock-server (tokens are JWTs, any client, no registration), and an MCP server made with the TypeScript SDK
// that believes its tokens. Argument: access token life in seconds. Prints one line of JSON with its addresses.
import express from "express";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { OAuth2Server } from "oauth2-mock-server";
import { requireBearerAuth } from "@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js";
import { InvalidTokenError } from "@modelcontextprotocol/sdk/server/auth/errors.js";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const lifeS = Number(process.argv[2] ?? 3600);
const counts = { register: 0, code: 0, refresh: 0, revoked: 0, refused: [] };

const authorization = new OAuth2Server();
await authorization.issuer.keys.generate("RS256");
await authorization.start(0, "127.0.0.1");
const issuer = authorization.issuer.url;
authorization.service.on("beforeTokenSigning", (token) => (token.payload.exp = token.payload.iat + lifeS));
authorization.service.on("beforeResponse", (response, request) => {
  counts[request.body.grant_type === "refresh_token" ? "refresh" : "code"] += 1;
  response.body.expires_in = lifeS;
});
authorization.service.on("beforeRevoke", () => (counts.revoked += 1));

const keys = createRemoteJWKSet(new URL(`${issuer}/jwks`));
const verifier = {
  async verifyAccessToken(token) {
    try {
      const { payload } = await jwtVerify(token, keys, { issuer });
      return { token, clientId: "any", scopes: [], expiresAt: payload.exp };
    } catch (error) {
      throw new InvalidTokenError(error.message);
    }
  },
};

const app = express();
const listener = app.listen(0, "127.0.0.1");
await new Promise((listening) => listener.once("listening", listening));
const resource = `http://127.0.0.1:${listener.address().port}/mcp`;
const resourceMetadataUrl = resource.replace("/mcp", "/.well-known/oauth-protected-resource/mcp");
app.get("/.well-known/oauth-protected-resource/mcp", (_, answer) =>
  answer.json({ resource, authorization_servers: [issuer] }),
);
app.get("/counts", (_, answer) => answer.json(counts));
app.all("/mcp", express.json(), requireBearerAuth({ verifier, resourceMetadataUrl }), async (request, answer) => {
  const server = new McpServer({ name: "mock", version: "1" });
  server.registerTool("add", { inputSchema: { one: z.number(), other: z.number() } }, ({ one, other }) => ({
    content: [{ type: "text", text: String(one + other) }],
  }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  answer.on("close", () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, answer, request.body);
});
console.log(JSON.stringify({ issuer: resource.replace("/mcp", ""), resource }));
