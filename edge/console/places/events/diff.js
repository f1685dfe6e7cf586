/** Compares two values of JSON, place by place. Pure. */

const leaf = (value) => value === null || typeof value !== "object" || !Object.keys(value).length;

/** The leaves of a value by their paths: `data.steps[0].name`. */
export function leaves(value, path = "", found = new Map()) {
  if (leaf(value)) return found.set(path, value);
  for (const [key, each] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${key}]` : path ? `${path}.${key}` : key;
    leaves(each, at, found);
  }
  return found;
}

/** What differs: `{ path, kind: "added" | "removed" | "changed", before, after }`, in the order of the paths. */
export function diff(before, after) {
  const [a, b] = [leaves(before), leaves(after)];
  const paths = [...new Set([...a.keys(), ...b.keys()])];
  return paths.flatMap((path) => {
    if (!b.has(path)) return [{ path, kind: "removed", before: a.get(path) }];
    if (!a.has(path)) return [{ path, kind: "added", after: b.get(path) }];
    return JSON.stringify(a.get(path)) === JSON.stringify(b.get(path)) ? [] : [{ path, kind: "changed", before: a.get(path), after: b.get(path) }];
  });
}
