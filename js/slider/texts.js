/**
 * The texts of the slider in the language of the page. Without a DOM, so it can be tested alone.
 *
 * A text is its own key, in English; what stands in braces is filled in.
 */

/** @type {Record<string, string>} */
let translated = {};

/**
 * Say texts in another language from now on. What a table lacks is said in English.
 * @param {Record<string, string>} table from the English text
 */
export function setTexts(table) {
  translated = table;
}

/**
 * @param {string} english
 * @param {Record<string, string | number>} [values] for what stands in braces
 */
export function say(english, values = {}) {
  const text = Object.hasOwn(translated, english) ? translated[english] : english;
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}
