import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";

import { say, setTexts } from "../../js/slider/texts.js";
import { CHINESE } from "../../js/slider/texts_zh.js";

const FOLDER = new URL("../../js/", import.meta.url);
const SAID = /say\(\s*(?:[\w.?]+\s*\?\s*)?"([^"]*)"(?:\s*:\s*"([^"]*)")?/g;
const BRACES = /\{\w+\}/g;

const sources = readdirSync(FOLDER, { recursive: true })
  .filter((name) => name.endsWith(".js") && !name.endsWith("texts_zh.js"))
  .map((name) => readFileSync(new URL(name, FOLDER), "utf8"));

/** The texts that nodes send, which are written in one place. */
const NOTES = readFileSync(new URL("../nodes/common/notes.py", FOLDER), "utf8");
const sent = [...NOTES.matchAll(/^[A-Z_]+ = \(?((?:\s*"[^"\n]*")+)/gm)].map(([, parts]) =>
  [...parts.matchAll(/"([^"]*)"/g)].map(([, part]) => part).join(""),
);

test("a text is its own key, with values filled in", () => {
  assert.equal(say("Frame {number}", { number: 3 }), "Frame 3");
  setTexts({ "Frame {number}": "第 {number} 帧", toString: "no" });
  assert.equal(say("Frame {number}", { number: 3 }), "第 3 帧");
  assert.equal(say("Save"), "Save", "what is not translated is said in English");
  setTexts({});
  assert.equal(say("constructor"), "constructor");
});

test("every text has a translation, and every translation its text", () => {
  const said = sources.flatMap((source) =>
    [...source.matchAll(SAID)].flatMap(([, first, second]) => (second ? [first, second] : [first])),
  );
  assert.ok(said.length > 30);
  assert.deepEqual(said.filter((text) => !Object.hasOwn(CHINESE, text)), []);
  assert.ok(sent.length > 1);
  assert.deepEqual(sent.filter((text) => !Object.hasOwn(CHINESE, text)), []);
  const everything = [...sources, ...sent.map((text) => `"${text}"`)].join("\n");
  assert.deepEqual(Object.keys(CHINESE).filter((text) => !everything.includes(`"${text}"`)), []);
});

test("a translation has the same values to fill in", () => {
  const values = (text) => [...new Set(text.match(BRACES))].sort();
  for (const [english, chinese] of Object.entries(CHINESE)) {
    assert.deepEqual(values(chinese), values(english), english);
  }
});
