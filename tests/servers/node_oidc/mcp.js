// The least that is an MCP server (2025-06-18, streamable HTTP without sessions): ``add``, and ``write``, which wants the
// scope mcp:write.
const numbers = { one: { type: "number" }, other: { type: "number" } };
const tools = [
  { name: "add", inputSchema: { type: "object", properties: numbers } },
  { name: "write", inputSchema: { type: "object" } },
];

const results = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "minimal", version: "1" },
  }),
  ping: () => ({}),
  "tools/list": () => ({ tools }),
  "tools/call": ({ name, arguments: { one, other } }) => ({
    content: [{ type: "text", text: name === "add" ? String(one + other) : "written" }],
  }),
};

export async function messageOf(request) {
  let body = "";
  for await (const piece of request) body += piece;
  return JSON.parse(body || "{}");
}

export function scopeFor(message) {
  return message?.method === "tools/call" && message.params.name === "write" ? "mcp:write" : null;
}

export function answerTo({ id, method, params }, answer) {
  if (id === undefined) return answer.writeHead(202).end();
  const known = results[method];
  const outcome = known ? { result: known(params) } : { error: { code: -32601, message: "unknown method" } };
  answer.writeHead(200, { "content-type": "application/json" });
  return answer.end(JSON.stringify({ jsonrpc: "2.0", id, ...outcome }));
}
