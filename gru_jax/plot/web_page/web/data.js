// @ts-check
// From the page's JSON to arrays.

/** @param {string} text base64 of float32 @returns {Float32Array} */
function decode(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

const ARRAYS = ["W", "b", "W_r", "W_z", "W_c", "b_r", "b_z", "b_c", "b_h", "h0"];

/** Returns a net, or a part of it, with arrays in place of texts.
 * @param {any} value @returns {any} */
export function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [
      name,
      ARRAYS.includes(name) && part !== null ? decode(part) : unpack(part),
    ]),
  );
}

/** Returns the rows of a matrix.
 * @param {{values: string, size: number}} matrix @returns {Float32Array[]} */
export function rows({ values, size }) {
  const flat = decode(values);
  return Array.from({ length: flat.length / size }, (_, t) =>
    flat.subarray(t * size, (t + 1) * size),
  );
}
