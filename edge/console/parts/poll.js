/** Reads something again and again while somebody looks at the page, never twice at once. */

/** Calls `read()` at once, every `every` ms, and when the page comes into view. Returns `{ again(), stop() }`. */
export function poll(read, every) {
  let reading = null;
  let wanted = false;
  let stopped = false;
  const again = () => {
    if (stopped) return null;
    wanted = Boolean(reading);
    reading ??= Promise.resolve(read()).finally(() => {
      reading = null;
      if (wanted) again();
    });
    return reading;
  };
  const look = () => document.hidden || again();
  const timer = setInterval(look, every);
  document.addEventListener("visibilitychange", look);
  again();
  return {
    again,
    stop() {
      stopped = true;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    },
  };
}
