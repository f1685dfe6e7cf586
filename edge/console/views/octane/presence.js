/** Says who else is moving the camera. */

import { h, say, show } from "../../dom.js";

// For how long after a move somebody counts as moving it (ms).
const LASTS = 2_500;
// After the start of a drag, changes by others may still be on their way (ms).
const GRACE = 700;

/**
 * `tell(device)` after each change of it; `started()` when a hand takes the camera here. `onTaken` is called where somebody else
 * took it since: the last one moves.
 */
export function presence(store, commands, onTaken) {
  const element = h("p.presence", { role: "status", hidden: true });
  let seen = null;
  let id = null;
  let holding = -Infinity;
  let timer = null;

  const tell = (device) => {
    const camera = JSON.stringify(device?.controls?.camera ?? null);
    const known = device?.id === id && seen !== null && seen !== "null";
    const changed = known && camera !== seen && camera !== "null";
    id = device?.id ?? null;
    seen = camera;
    if (!changed) return;
    const by = device.controls.camera_by ?? null;
    // `/me` has the issuer before the name.
    const me = store.rights?.id?.replace(/^\S* /, "") ?? null;
    // Without a name it may be anybody, or Octane that rounds: this page's own, if it has just moved the camera.
    if ((by === me || by === null) && commands.moving) return;
    if (by !== me && performance.now() - holding > GRACE) onTaken();
    say(element, by === null ? "The camera is moved elsewhere" : by === me ? "You are moving the camera in another window" : `${by} is moving the camera`);
    show(element, true);
    clearTimeout(timer);
    timer = setTimeout(() => show(element, false), LASTS);
  };
  return { element, tell, started: () => { holding = performance.now(); } };
}
