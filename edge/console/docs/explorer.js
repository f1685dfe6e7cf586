// Shows the OpenAPI document with Scalar; requests go to the edge that serves this page.

const base = new URL(".", location.href);

// Whatever Scalar would fetch from its own servers is off, and the page's policy refuses it. A token that is typed in stays in
// this page's memory.
globalThis.Scalar.createApiReference("#explorer", {
  url: new URL("openapi.json", base).href,
  servers: [{ url: base.href.replace(/\/$/, ""), description: "This edge" }],
  proxyUrl: "",
  persistAuth: false,
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  documentDownloadType: "none",
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  authentication: { preferredSecurityScheme: "bearer" },
  operationTitleSource: "summary",
});
