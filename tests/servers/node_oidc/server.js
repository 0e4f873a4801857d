// npm oidc-provider with registration, PKCE, rotation and reuse revocation, and a resource that it protects.
// Arguments: access token life in seconds, and "dpop" for a resource that takes only tokens
// bound to a key; the provider announces them in any case. Prints one line of JSON with its address when it listens.
import { createServer } from "node:http";
import Provider from "oidc-provider";
import { changeNonce, currentNonce, judge } from "./dpop.js";
import { answerTo, messageOf, scopeFor } from "./mcp.js";

let lifeS = Number(process.argv[2] ?? 3600);
const bound = process.argv[3] === "dpop";
const server = createServer();
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const resource = `${issuer}/mcp`;
const scopes = "mcp:read mcp:write";
const zero = () => ({ register: 0, code: 0, refresh: 0, refused: [], revoked: 0, called: 0, unauthorized: 0, metadata: 0, proofs: [] });
let counts = zero();
const together = [];

const provider = new Provider(issuer, {
  scopes: ["openid", "offline_access", ...scopes.split(" ")],
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    dPoP: bound ? { enabled: true, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => true } : { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: scopes, accessTokenFormat: "opaque", accessTokenTTL: lifeS }),
    },
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: (_, client) => client.grantTypeAllowed("refresh_token"),
  cookies: { keys: ["test"] },
  ttl: { AccessToken: () => lifeS, Grant: 86400, Session: 86400, Interaction: 600, IdToken: 600, RefreshToken: 86400 },
});
provider.on("registration_create.success", () => (counts.register += 1));
provider.on("grant.success", (ctx) => {
  counts[ctx.oidc.params.grant_type === "refresh_token" ? "refresh" : "code"] += 1;
});
provider.on("grant.revoked", () => (counts.revoked += 1));
provider.on("grant.error", (_, error) => counts.refused.push(error.error));

const authorization = provider.callback();
const scheme = bound ? "DPoP" : "Bearer";
const send = (answer, status, body, headers = {}) => {
  answer.writeHead(status, { "content-type": "application/json", ...headers });
  answer.end(JSON.stringify(body));
};

// Return when so many requests are here at once.
function inCompany(count) {
  return new Promise((go) => {
    together.push(go);
    if (together.length >= count) for (const each of together.splice(0)) each();
  });
}

async function protectedResource(request, answer, url) {
  const [, token] = (request.headers.authorization ?? "").split(" ");
  const found = token && (await provider.AccessToken.find(token));
  const metadata = `resource_metadata="${issuer}/.well-known/oauth-protected-resource/mcp"`;
  if (!found) {
    counts.unauthorized += 1;
    const error = token ? 'error="invalid_token", ' : "";
    return send(answer, 401, {}, { "www-authenticate": `${scheme} ${error}scope="mcp:read", ${metadata}` });
  }
  const wrong = bound ? await judge(request, resource, token, found.jkt) : "";
  if (wrong) {
    counts.proofs.push(wrong);
    const headers = { "www-authenticate": `DPoP error="${wrong}", ${metadata}`, "dpop-nonce": currentNonce() };
    return send(answer, 401, {}, headers);
  }
  const message = request.method === "POST" ? await messageOf(request) : undefined;
  const wanted = url.searchParams.get("scope") ?? scopeFor(message);
  if (wanted && !(found.scope ?? "").split(" ").includes(wanted)) {
    const header = `Bearer error="insufficient_scope", scope="${wanted}", ${metadata}`;
    return send(answer, 403, {}, { "www-authenticate": header });
  }
  await new Promise((done) => setTimeout(done, Number(url.searchParams.get("ms") ?? 0)));
  await inCompany(Number(url.searchParams.get("together") ?? 0));
  counts.called += 1;
  if (message) return answerTo(message, answer);
  if ((request.headers.accept ?? "").includes("text/event-stream")) return send(answer, 405, {});
  return send(answer, 200, { scope: found.scope, audience: found.aud });
}

server.on("request", async (request, answer) => {
  const url = new URL(request.url, issuer);
  if (url.pathname === "/mcp") return protectedResource(request, answer, url);
  if (url.pathname === "/.well-known/oauth-protected-resource/mcp") {
    counts.metadata += 1;
    return send(answer, 200, { resource, authorization_servers: [issuer], scopes_supported: scopes.split(" ") });
  }
  if (url.pathname === "/counts") return send(answer, 200, counts);
  if (url.pathname === "/nonce") return send(answer, 200, { nonce: changeNonce() });
  if (url.pathname === "/reset") {
    counts = zero();
    lifeS = Number(url.searchParams.get("life") ?? 3600);
    return send(answer, 200, {});
  }
  return authorization(request, answer);
});
console.log(JSON.stringify({ issuer, resource }));
