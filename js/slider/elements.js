/** How the slider and what stands around it make their elements. */

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 */
export function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/**
 * A drawing of 24 x 24 units, filled with the colour of the text, for eyes only.
 * @param {string} shape as in the attribute `d` of a path
 */
export function icon(shape) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", shape);
  svg.append(path);
  return { svg, path };
}

/**
 * A style sheet that all elements of a kind share; it stays when they go.
 * @param {string} id
 * @param {string} rules
 */
export function addStyle(id, rules) {
  if (document.getElementById(id)) return;
  document.head.append(make("style", "", { id }, rules));
}
