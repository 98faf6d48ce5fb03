// Tells what the page's png.js finds in a file of standard input, as JSON.
import { readFileSync } from "node:fs";
globalThis.self = globalThis;
const { metadataOf } = await import(process.argv[2]);
const { chunks, lost, known } = await metadataOf(new Blob([readFileSync(0)]));
console.log(JSON.stringify({ chunks: chunks.map(([type]) => type), lost, known }));
