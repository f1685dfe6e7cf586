/** Keeps a view that was made once: it is taken out of the page when its place is left, and put back as it was. */

import { h } from "../dom.js";

/**
 * `make(root, context)` fills a panel and returns its view; `rest(view)` is called when the place is left and `wake(view)` when it is
 * opened again, `follow(view, params, root)` with the address each time. Returns a place's `open`.
 */
export function hosted({ id, classes, make, rest = null, wake = null, follow = null }) {
  let kept = null;
  return (context, params) => {
    const anew = !kept;
    if (anew) {
      const root = h(`section.panel.${classes}`, { id, "aria-labelledby": `${id}-title` });
      kept = { root, host: h("div.hosted", {}, root) };
      // In the page while it is made: a view may measure itself.
      kept.view = make(root, context);
    }
    const { root, host, view } = kept;
    if (!anew) wake?.(view);
    follow?.(view, params, root, context);
    return {
      element: host,
      update: (next) => follow?.(view, next, root, context),
      close: () => rest?.(view),
    };
  };
}

/** Chooses in a view's list of devices the one of the address, as soon as it is known; and writes the chosen one into the address. */
export function followDevice(topic) {
  let wanted = null;
  let bound = false;
  return (view, params, root, context) => {
    wanted = params.path[0] ?? null;
    const choose = () => {
      if (!wanted || ![...view.choice.options].some(({ value }) => value === wanted)) return;
      const id = wanted;
      wanted = null;
      if (view.choice.value === id && view.commands.id === id) return;
      view.choice.value = id;
      view.choice.dispatchEvent(new Event("change"));
    };
    if (!bound) {
      context.store.watch(topic, choose);
      view.choice.addEventListener("change", () => context.mark([view.choice.value], {}));
      bound = true;
    }
    choose();
  };
}
