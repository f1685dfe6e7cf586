/** Checks values against the JSON Schemas that actors give for the arguments of their commands. */

const TYPES = {
  object: ["an object", (value) => value !== null && typeof value === "object" && !Array.isArray(value)],
  array: ["a list", Array.isArray],
  string: ["a text", (value) => typeof value === "string"],
  boolean: ["true or false", (value) => typeof value === "boolean"],
  integer: ["a whole number", Number.isInteger],
  number: ["a number", Number.isFinite],
  null: ["null", (value) => value === null],
};

/** A schema with its `$ref` followed; `root` has the `$defs`. */
export function resolved(schema, root) {
  if (!schema || typeof schema !== "object") return {};
  const name = /^#\/\$defs\/(.+)$/.exec(schema.$ref ?? "")?.[1];
  return name ? { ...resolved(root.$defs?.[name], root), ...schema, $ref: undefined } : schema;
}

/** What a value may be beside null: `{ schema, nullable }`. */
export function beside(schema, root) {
  const whole = resolved(schema, root);
  const options = whole.anyOf ?? whole.oneOf;
  if (!options) {
    const types = [whole.type].flat();
    return types.length > 1 && types.includes("null") ? { schema: { ...whole, type: types.filter((type) => type !== "null") }, nullable: true } : { schema: whole, nullable: false };
  }
  const rest = options.map((each) => resolved(each, root)).filter(({ type }) => type !== "null");
  const nullable = rest.length < options.length;
  return { schema: rest.length === 1 ? { ...whole, ...rest[0], anyOf: undefined, oneOf: undefined } : { ...whole, anyOf: rest, oneOf: undefined }, nullable };
}

const both = (low, high, name) => (low !== undefined && high !== undefined ? `${name} ${low} to ${high}` : low !== undefined ? `${name} ${low} or more` : `${name} ${high} or less`);

function range(value, schema) {
  const { minimum: low, maximum: high, exclusiveMinimum: above, exclusiveMaximum: below, multipleOf: step } = schema;
  if ((low !== undefined && value < low) || (high !== undefined && value > high)) return both(low, high, "must be");
  if (above !== undefined && value <= above) return `must be more than ${above}`;
  if (below !== undefined && value >= below) return `must be less than ${below}`;
  if (step !== undefined && Math.abs(value / step - Math.round(value / step)) > 1e-9) return `must be a multiple of ${step}`;
  return null;
}

function length(count, least, most, unit) {
  if ((least === undefined || count >= least) && (most === undefined || count <= most)) return null;
  return least === most ? `must have ${least} ${unit}` : both(least, most, `must have`) + ` ${unit}`;
}

function fits(text, pattern) {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    // A pattern of another dialect is the server's to check.
    return true;
  }
}

/** Why a value does not fit, as `what must be …`; null where it does. */
export function mistake(value, given, root, what = "It") {
  const schema = resolved(given, root);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) {
    const found = options.map((each) => mistake(value, each, root, what));
    if (found.every(Boolean)) return found.find((text) => !text.endsWith("must be null")) ?? found[0];
  }
  if (schema.enum && !schema.enum.includes(value)) return `${what} must be one of ${schema.enum.join(", ")}`;
  if ("const" in schema && schema.const !== value) return `${what} must be ${JSON.stringify(schema.const)}`;
  const types = schema.type === undefined ? [] : [schema.type].flat();
  if (types.length && !types.some((type) => TYPES[type]?.[1](value))) return `${what} must be ${types.map((type) => TYPES[type]?.[0] ?? type).join(" or ")}`;
  const found = typeof value === "number" ? range(value, schema)
    : typeof value === "string" ? length(value.length, schema.minLength, schema.maxLength, "characters") ?? (schema.pattern && !fits(value, schema.pattern) ? `must fit the pattern ${schema.pattern}` : null)
    : null;
  if (found) return `${what} ${found}`;
  if (Array.isArray(value)) return inList(value, schema, root, what);
  return TYPES.object[1](value) ? inObject(value, schema, root, what) : null;
}

function inList(list, schema, root, what) {
  const found = length(list.length, schema.minItems, schema.maxItems, "entries");
  if (found) return `${what} ${found}`;
  for (const [at, each] of list.entries()) {
    const inside = schema.prefixItems?.[at] ?? schema.items;
    const wrong = inside && mistake(each, inside, root, `${what}, entry ${at + 1},`);
    if (wrong) return wrong;
  }
  return null;
}

function inObject(object, schema, root, what) {
  const { properties = {}, required = [], additionalProperties: others } = schema;
  const absent = required.find((name) => !(name in object));
  if (absent !== undefined) return `${what} needs ${absent}`;
  for (const [name, value] of Object.entries(object)) {
    const inside = properties[name] ?? (typeof others === "object" ? others : null);
    if (!inside && others === false) return `${what} has no field ${name}`;
    const wrong = inside && mistake(value, inside, root, `${what}, field ${name},`);
    if (wrong) return wrong;
  }
  return null;
}

/** What a person should know of a value in a few words: `number, 0 to 10`. */
export function hint(given, root) {
  const { schema } = beside(given, root);
  const { minimum: low, maximum: high, minLength: least, maxLength: most } = schema;
  const kind = schema.enum ? "" : schema.anyOf ? "JSON" : { object: "JSON object", array: "JSON list", integer: "whole number" }[[schema.type].flat()[0]] ?? [schema.type].flat()[0] ?? "JSON";
  const bounds = low !== undefined || high !== undefined ? both(low, high, "") : most !== undefined && schema.type === "string" ? `${least ?? 0} to ${most} characters` : "";
  return [schema.description, [kind, bounds.trim()].filter(Boolean).join(", ")].filter(Boolean).join(" · ");
}
