// Runs the page's net on the data of a file, for test_engine.py:
// node run.mjs WEB DATA, where WEB is the folder of the modules.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [web, file] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${web}/${name}.js`));
const [{ run, gradientNorms }, { rows, unpack }] = await Promise.all([load("net"), load("data")]);
const { page, changes, inputs } = JSON.parse(readFileSync(file, "utf8"));
const { ys, cells } = run(unpack(page.net), rows(page.xs), changes, inputs);
const lists = (values) => values.map((value) => value && Array.from(value));
console.log(
  JSON.stringify({
    ys: lists(ys),
    cells: cells.map((trace, i) => ({
      ...Object.fromEntries(
        ["x", "before", "r", "z", "c", "q", "h"].map((name) => [
          name,
          lists(trace.steps.map((step) => step[name])),
        ]),
      ),
      reach: lists(trace.steps.map((_, t) => gradientNorms(trace, t, changes[i]))),
    })),
  }),
);
