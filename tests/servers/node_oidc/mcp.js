// The least that is an MCP server (2025-06-18, streamable HTTP without sessions): one tool, ``add``.
const tool = {
  name: "add",
  inputSchema: { type: "object", properties: { one: { type: "number" }, other: { type: "number" } } },
};

const results = {
  initialize: ({ protocolVersion }) => ({
    protocolVersion,
    capabilities: { tools: {} },
    serverInfo: { name: "minimal", version: "1" },
  }),
  ping: () => ({}),
  "tools/list": () => ({ tools: [tool] }),
  "tools/call": ({ arguments: { one, other } }) => ({ content: [{ type: "text", text: String(one + other) }] }),
};

export async function answerTo(request, answer) {
  let body = "";
  for await (const piece of request) body += piece;
  const { id, method, params } = JSON.parse(body);
  if (id === undefined) return answer.writeHead(202).end();
  const known = results[method];
  const outcome = known ? { result: known(params) } : { error: { code: -32601, message: "unknown method" } };
  answer.writeHead(200, { "content-type": "application/json" });
  return answer.end(JSON.stringify({ jsonrpc: "2.0", id, ...outcome }));
}
