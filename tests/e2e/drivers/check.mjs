// What the drivers share: named checks, waiting for an event, and a clear end.
// It must not know Socket.IO.

import assert from "node:assert/strict";

const PATIENCE_MS = 60_000;

/** Settles with the promise, or fails naming what was waited for. */
export function within(promise, what, patienceMs = PATIENCE_MS) {
  let timer;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${patienceMs} ms in vain for ${what}`)), patienceMs);
  });
  return Promise.race([promise, tooLong]).finally(() => clearTimeout(timer));
}

/** The arguments of the next such event. Call it before causing the event. */
export function next(emitter, event) {
  return within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), `"${event}"`);
}

/** Runs the named steps in order; the first that fails ends the process with status 1. */
export async function run(title, steps) {
  let current = "";
  const fail = (error) => {
    console.error(`FAIL ${title}: ${current}`);
    console.error(error);
    process.exit(1);
  };
  process.on("unhandledRejection", fail); // an event given up while the step still waits for something else
  for (const [name, step] of Object.entries(steps)) {
    current = name;
    try {
      await step();
    } catch (error) {
      fail(error);
    }
    console.log(`ok   ${title}: ${name}`);
  }
  process.exit(0);
}

export { assert };
