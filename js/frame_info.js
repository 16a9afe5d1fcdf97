/** What is known of a frame besides its picture. Without a DOM, so it can be tested alone. */

/**
 * A frame as the server and the command's page tell of it: `FrameInfo` of the library, whose
 * docstring says more of each field.
 * @typedef {object} FrameInfo
 * @property {number} index from 0
 * @property {number} position in keyframes: 0.5 is half-way from the first to the second
 * @property {number} depth 0 for keyframes, 1 for frames made from keyframes alone
 * @property {number[]} parents the numbers of the two frames it is made from; keyframes have none
 * @property {number} first the number of the first candidate
 * @property {number} count how many candidates there are; 0 until the frame is made
 * @property {number[]} scores of the candidates; empty if there is only one
 * @property {number | null} candidate the one that became the frame; null until it is made
 * @property {boolean} picked whether a person chose the candidate
 * @property {number | null} best the candidate that the scores choose
 * @property {number} roll how often new noise was drawn for the candidates
 */

/**
 * The numbers of some frames, and of all that are made from them, directly or by way of others.
 * @param {Iterable<number>} changed
 * @param {FrameInfo[]} frames all of the path
 * @returns {Set<number>}
 */
export function withDescendants(changed, frames) {
  const found = new Set(changed);
  const byDepth = [...frames].sort((a, b) => a.depth - b.depth);
  for (const { index, parents } of byDepth) {
    if (parents.some((parent) => found.has(parent))) found.add(index);
  }
  return found;
}
