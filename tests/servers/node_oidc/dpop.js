// A resource's check of DPoP proofs (RFC 9449 section 4.3), with a nonce of its own that it changes now and then.
import { createHash } from "node:crypto";
import { EmbeddedJWK, calculateJwkThumbprint, jwtVerify } from "jose";

const seen = new Set();
let nonce = "resource-nonce-0";

export const currentNonce = () => nonce;
export const changeNonce = () => (nonce = `resource-nonce-${Number(nonce.split("-")[2]) + 1}`);

// "" when the request's proof is good for the token, else the error to answer with.
export async function judge(request, uri, token, thumbprint) {
  const [scheme] = (request.headers.authorization ?? "").split(" ");
  if (scheme !== "DPoP") return "invalid_token";
  try {
    const verified = await jwtVerify(request.headers.dpop, EmbeddedJWK, { algorithms: ["ES256"], typ: "dpop+jwt" });
    const { payload, protectedHeader } = verified;
    const ath = createHash("sha256").update(token).digest("base64url");
    const fresh = Math.abs(Date.now() / 1000 - payload.iat) < 60 && !seen.has(payload.jti);
    const fits = payload.htm === request.method && payload.htu === uri && payload.ath === ath;
    if (!fresh || !fits || "d" in protectedHeader.jwk) return "invalid_dpop_proof";
    if ((await calculateJwkThumbprint(protectedHeader.jwk)) !== thumbprint) return "invalid_token";
    seen.add(payload.jti);
    return payload.nonce === nonce ? "" : "use_dpop_nonce";
  } catch {
    return "invalid_dpop_proof";
  }
}
