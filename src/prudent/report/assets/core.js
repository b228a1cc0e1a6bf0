"use strict";
/* What every part of the script shares: the numbers, the state, and safe ways to put text on the page.

   Text from a run is only ever set as textContent, or passed through escaped() where plotly reads it as markup. */

document.documentElement.classList.add("scripted");

const DATA = JSON.parse(document.getElementById("data").textContent);
const METHODS = DATA.look.methods;

/* What the reader looks at: indices of the method and of its candidate, and what the cost charts are drawn against. */
const state = { method: DATA.look.method, candidate: DATA.look.candidate, axis: "removed" };

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const color = (role) => getComputedStyle(document.documentElement).getPropertyValue("--" + role).trim();

function escaped(text) {
  const named = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return String(text).replace(/[&<>"']/g, (c) => named[c]);
}

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/* A palette colour with an opacity, as plotly wants it. */
function faded(hex, opacity) {
  const part = (at) => parseInt(hex.slice(at, at + 2), 16);
  return `rgba(${part(1)},${part(3)},${part(5)},${opacity})`;
}

const looked = () => METHODS[state.method];
const lookedCandidate = () => looked().candidates[state.candidate];

/* Lines of a hover label: the first one bold. */
function lines(first, ...rest) {
  return [`<b>${escaped(first)}</b>`, ...rest.map(escaped)].join("<br>");
}
