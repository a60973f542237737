/** The package stays small enough that nobody thinks twice about taking it, and needs no other. */

import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const SOURCE = fileURLToPath(new URL("../../clients/javascript/src/", import.meta.url));
const MOST_KIBIBYTES = { "index.js": 5, "element.js": 10 };

for (const [entry, most] of Object.entries(MOST_KIBIBYTES))
  test(`${entry} with all that it imports, minified and gzipped, is at most ${most} KiB`, async (t) => {
    const { outputFiles } = await build({
      entryPoints: [SOURCE + entry],
      bundle: true,
      format: "esm",
      minify: true,
      write: false,
    });
    const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
    t.diagnostic(`${entry}: ${bytes} bytes`);
    assert.ok(bytes > 1000 && bytes <= most * 1024, `${bytes} bytes`);
  });

test("it imports nothing but its own files", async () => {
  const files = (await readdir(SOURCE)).filter((name) => name.endsWith(".js"));
  assert.ok(files.includes("progress.js"));
  for (const file of files) {
    const text = await readFile(SOURCE + file, "utf8");
    for (const [, from] of text.matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g))
      assert.ok(files.includes(from.replace(/^\.\//, "")), `${file} imports ${from}`);
  }
});
