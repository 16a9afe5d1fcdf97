/**
 * The text of the input `picks`: which candidate a frame takes. Without a DOM, so it can be tested
 * alone.
 *
 * Entries stand between commas, semicolons or line ends: `0.5: 3` takes candidate 3 at position
 * 0.5, `0.5: roll 1` draws that frame's candidates from new noise. The server reads the same.
 */

/**
 * What a frame is told: a candidate, or only which of its rolls to draw from.
 * @typedef {{ candidate: number | null, roll: number }} Choice
 */

/** Positions this near are one. */
const NEAR = 1e-4;
const ENTRY = /^(\d+\.?\d*|\.\d+)\s*:\s*(roll\s*)?(\d{1,9})$/i;

/**
 * A position in the fewest digits that tell frames apart.
 * @param {number} position
 */
export function positionKey(position) {
  return String(Number(position.toFixed(4)));
}

/**
 * What is said of a position; null where nothing is.
 * @param {string} text
 * @param {number} position
 * @returns {Choice | null}
 */
export function choiceAt(text, position) {
  const entry = entriesOf(text).findLast((other) => isAt(other, position));
  if (entry === undefined) return null;
  const [, , roll, number] = /** @type {RegExpExecArray} */ (ENTRY.exec(entry));
  return roll ? { candidate: null, roll: Number(number) } : { candidate: Number(number), roll: 0 };
}

/**
 * The entries that are neither a candidate nor new noise, for which the server refuses to run.
 * @param {string} text
 */
export function unreadable(text) {
  return entriesOf(text).filter((entry) => !ENTRY.test(entry));
}

/**
 * The text with another choice for a position; null leaves the frame to the reranker. Other choices
 * are kept, and entries that cannot be read are dropped.
 * @param {string} text
 * @param {number} position
 * @param {Choice | null} choice
 */
export function withChoice(text, position, choice) {
  const others = entriesOf(text).filter((entry) => ENTRY.test(entry) && !isAt(entry, position));
  if (choice === null) return others.join(", ");
  const number = choice.candidate ?? `roll ${choice.roll}`;
  return [...others, `${positionKey(position)}: ${number}`].join(", ");
}

/** @param {string} text */
function entriesOf(text) {
  return text
    .split(/[,;\n]/)
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

/**
 * @param {string} entry
 * @param {number} position
 */
function isAt(entry, position) {
  const match = ENTRY.exec(entry);
  return match !== null && Math.abs(Number(match[1]) - position) <= NEAR;
}
