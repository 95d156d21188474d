// The official parser's verdict on a list of texts: [type, namespace, id, data] each, null where it refuses.
// Usage: node parser4.mjs < texts.json; attachments are single bytes with their number. It must not know servers.

import { readFileSync } from "node:fs";
import { Decoder } from "socket.io-parser";

function verdict(text) {
  const decoder = new Decoder();
  let decoded = null;
  decoder.on("decoded", (packet) => {
    decoded = [packet.type, packet.nsp, packet.id ?? null, packet.data ?? null];
  });
  try {
    decoder.add(text);
    for (let number = 0; !decoded && number < 10; number += 1) decoder.add(Buffer.from([number]));
  } catch {
    return null;
  }
  return decoded;
}

const bytes = (key, value) => (value?.type === "Buffer" ? { bytes: value.data } : value);
const texts = JSON.parse(readFileSync(0, "utf-8"));
process.stdout.write(JSON.stringify(texts.map(verdict), bytes));
