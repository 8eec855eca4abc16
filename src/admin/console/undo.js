// Offers for ten seconds to take back what was just done.

import { say, show } from "./dom.js";

const SECONDS = 10;

const notice = document.getElementById("undo");
const words = document.getElementById("undo-words");
const button = document.getElementById("undo-button");
let ticking = 0;
let act = null;

button.addEventListener("click", () => {
  const undo = act;
  close();
  undo?.();
});

// Says what was done; a click on *Undo* calls `undo`. A new offer takes the place of an old one.
export function offerUndo(text, undo) {
  close();
  act = undo;
  say(words, text);
  let left = SECONDS;
  const tick = () => {
    say(button, `Undo (${left} s)`);
    if (left === 0) close();
    left -= 1;
  };
  tick();
  ticking = setInterval(tick, 1_000);
  show(notice, true);
}

function close() {
  clearInterval(ticking);
  act = null;
  show(notice, false);
}
