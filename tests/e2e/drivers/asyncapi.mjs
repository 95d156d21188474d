// Is a document valid, by the schema of AsyncAPI 3.0.0 itself?
// It must not know who wrote it. Usage: node asyncapi.mjs FILE

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { assert, run } from "./check.mjs";

const require = createRequire(import.meta.url);
const Ajv = require("ajv");
// The schema brings that of draft 7 itself.
const options = { strict: false, validateFormats: false, validateSchema: false, meta: false };
const schema = require("@asyncapi/specs/schemas/3.0.0.json");

await run("asyncapi", {
  "the document is valid": () => {
    const ajv = new Ajv({ ...options, allErrors: true });
    const valid = ajv.validate(schema, JSON.parse(readFileSync(process.argv[2], "utf-8")));
    assert(valid, JSON.stringify(ajv.errors, null, 2));
  },
  "another one is not": () => {
    const ajv = new Ajv(options);
    assert(!ajv.validate(schema, { asyncapi: "3.0.0", info: { title: "no version" }, channels: {} }));
  },
});
