// @ts-check
// Formulas, in MathML.

const MATH = "http://www.w3.org/1998/Math/MathML";

/** @param {string} tag @param {...(Node | string)} children */
function node(tag, ...children) {
  const made = document.createElementNS(MATH, tag);
  made.append(...children);
  return made;
}

/**
 * Returns a formula. Letters and digits with a subscript are written a_b; what is in quotes stays
 * upright: math("r_t = 'sigmoid'(a)").
 * @param {string} text
 */
export function math(text) {
  const pattern = /'([^']+)'|(\p{L}\p{L}?)_(?:\{([^}]+)\}|(\w+))|(\p{L})|(\d+(?:\.\d+)?)|(\S)/gu;
  const parts = [];
  for (const [, upright, base, long, short, letter, digits, sign] of text.matchAll(pattern)) {
    if (upright) parts.push(node("mi", upright));
    else if (base) parts.push(node("msub", node("mi", base), node("mi", long || short)));
    else if (letter) parts.push(node("mi", letter));
    else if (digits) parts.push(node("mn", digits));
    else parts.push(node("mo", sign));
  }
  return node("math", node("mrow", ...parts));
}
