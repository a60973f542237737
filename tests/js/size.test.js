/** The subscriber stays small enough that nobody thinks twice about lifting it. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import { minify } from "terser";

const MOST_BYTES = 5 * 1024;

test("minified and gzipped it is at most 5 KiB, and imports nothing", async (t) => {
  const source = await readFile(new URL("../../clients/javascript/src/progress.js", import.meta.url), "utf8");
  const { code } = await minify(source, { module: true });
  const bytes = gzipSync(code, { level: 9 }).length;
  t.diagnostic(`${bytes} bytes`);
  assert.ok(bytes > 0 && bytes <= MOST_BYTES, `${bytes} bytes`);
  assert.doesNotMatch(code, /\bimport\b/);
});
