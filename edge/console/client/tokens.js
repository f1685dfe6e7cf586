/** Writes ids as tokens of subjects, as the server does. */

/** The token that stands for an id in a subject; the server's `escape`, in JavaScript. */
export function escapeToken(id) {
  if (id === "") return "=";
  return Array.from(new TextEncoder().encode(id), (byte) => {
    const sign = String.fromCharCode(byte);
    return /[A-Za-z0-9_-]/.test(sign) ? sign : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}

/** Gives back the id that a token stands for. */
export function unescapeToken(token) {
  if (token === "=") return "";
  try {
    return decodeURIComponent(token.replace(/=([0-9A-F]{2})/g, "%$1"));
  } catch {
    return token;
  }
}
