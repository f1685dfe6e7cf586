/** Writes what was found as text that can be sent to somebody. */

import { bytes, milliseconds, number } from "../format.js";

/** One line of figures. */
export function summary({ works, reason, figures }) {
  if (!figures) return reason;
  const { p50, p99 } = figures.latency;
  const parts = [
    figures.size,
    figures.frames > 1 && `${number(figures.meanFps, 1)} fps`,
    `${number(figures.frames)} ${figures.frames === 1 ? "picture" : "pictures"}`,
    figures.bytes > 0 && `${bytes(figures.bytesPerSecond)}/s`,
    p50 !== null && `latency ${milliseconds(p50)} (p99 ${milliseconds(p99)})`,
    figures.firstAfter !== null && `first after ${milliseconds(figures.firstAfter)}`,
  ].filter(Boolean);
  if (works) return parts.join(", ");
  return figures.frames ? `${reason}; before that ${parts.join(", ")}` : reason;
}

export function report({ camera, results, log, server, skew }) {
  const lines = [
    "Callboard camera test",
    `Time:     ${new Date().toISOString()}`,
    `Server:   ${location.origin}${server ? `, ${server}` : ""}`,
    `Camera:   ${camera}`,
    `Browser:  ${navigator.userAgent}`,
    `Page:     ${isSecureContext ? "secure context" : "not a secure context: no WebCodecs"}; ${screen.width} × ${screen.height}`,
  ];
  if (skew !== null && Math.abs(skew) > 2_500) lines.push(`Clocks:   this computer and the server differ by ${milliseconds(Math.abs(skew))}`);
  lines.push("");
  for (const { probe, result } of results) {
    const verdict = !result ? "not tried" : result.works ? "works" : "fails";
    lines.push(`${verdict.padEnd(9)} ${probe.label}${result ? `: ${summary(result)}` : ""}`);
  }
  return `${[...lines, "", "Log:", ...log].join("\n")}\n`;
}
