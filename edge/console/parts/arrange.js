/** Puts rows in order with as few moves as it takes, and never under a pointer that is pressed. */

const waiting = new Set();
let pressed = false;

function release() {
  // The click comes after this event, in the same turn.
  setTimeout(() => {
    pressed = false;
    const draws = [...waiting];
    waiting.clear();
    for (const draw of draws) draw();
  });
}

addEventListener("pointerdown", () => (pressed = true), { capture: true, passive: true });
for (const end of ["pointerup", "pointercancel", "blur"]) addEventListener(end, release, { capture: true, passive: true });

/** Makes of `draw` one that waits while a pointer is pressed: a click is lost where its target moves between press and release. */
export function unpressed(draw) {
  return () => {
    if (pressed) waiting.add(draw);
    else draw();
  };
}

/** Makes `children` the parent's only ones, in this order; those that stand right stay as they are, and so does the focus. */
export function arrange(parent, children) {
  const held = document.activeElement;
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  children.forEach((child, at) => {
    if (parent.children[at] !== child) parent.insertBefore(child, parent.children[at] ?? null);
  });
  if (parent.contains(held) && document.activeElement !== held) held.focus({ preventScroll: true });
}
