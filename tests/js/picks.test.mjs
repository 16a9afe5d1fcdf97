import assert from "node:assert/strict";
import test from "node:test";

import { choiceAt, positionKey, unreadable, withChoice } from "../../js/picks.js";

test("a choice is found at its position, however the entries are divided", () => {
  const text = "0.5: 3; 0.25:roll 2,\n 1.75 : 0 ";
  assert.deepEqual(choiceAt(text, 0.5), { candidate: 3, roll: 0 });
  assert.deepEqual(choiceAt(text, 0.25), { candidate: null, roll: 2 });
  assert.deepEqual(choiceAt(text, 1.75), { candidate: 0, roll: 0 });
  assert.equal(choiceAt(text, 0.75), null);
  assert.equal(choiceAt("", 0.5), null);
});

test("the last of two entries for a position counts", () => {
  assert.deepEqual(choiceAt("0.5: 1, 0.5: 2", 0.5), { candidate: 2, roll: 0 });
});

test("a position is written in four digits and found by them", () => {
  const text = withChoice("", 1 / 3, { candidate: 4, roll: 0 });
  assert.equal(text, "0.3333: 4");
  assert.deepEqual(choiceAt(text, 1 / 3), { candidate: 4, roll: 0 });
  assert.equal(choiceAt(text, 0.3335), null);
  assert.equal(positionKey(2), "2");
});

test("frames of the longest path are told apart", () => {
  const text = withChoice("", 511 / 1024, { candidate: 1, roll: 0 });
  assert.equal(choiceAt(text, 512 / 1024), null);
  assert.equal(choiceAt(text, 510 / 1024), null);
});

test("a choice replaces the one before it and leaves the others", () => {
  const text = "0.25: 1, 0.5: 2, 0.5: roll 1, 0.75: 3";
  const picked = withChoice(text, 0.5, { candidate: 7, roll: 0 });
  assert.equal(picked, "0.25: 1, 0.75: 3, 0.5: 7");
  assert.equal(withChoice(picked, 0.5, null), "0.25: 1, 0.75: 3");
  assert.equal(withChoice("", 0.5, { candidate: null, roll: 2 }), "0.5: roll 2");
});

test("another choice drops what cannot be read", () => {
  const text = "the nice one, 0.25: roll 1; half: 3";
  assert.deepEqual(unreadable(text), ["the nice one", "half: 3"]);
  assert.equal(withChoice(text, 0.5, { candidate: 0, roll: 0 }), "0.25: roll 1, 0.5: 0");
  assert.equal(withChoice(text, 0.5, null), "0.25: roll 1");
  assert.deepEqual(unreadable(" .5:3, 0.25:ROLL 2\n1. : 0;"), []);
});
