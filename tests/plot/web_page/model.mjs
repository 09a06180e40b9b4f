// Moves through a page's model without drawing it, for test_model.py:
// node model.mjs WEB DATA, where WEB is the folder of the modules.
// Each move is ["read", address], or the name of a method of the model and its arguments.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [web, file] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(`${web}/${name}.js`));
const [{ Model }, { read, write }, { rows, unpack }] = await Promise.all(
  ["model", "address", "data"].map(load),
);
const { page, moves, chapters } = JSON.parse(readFileSync(file, "utf8"));
const model = new Model(unpack(page.net), rows(page.xs), page.inputs);
const look = () => {
  const { place, order, sorted } = model;
  return { place, order, sorted, address: write(model), reach: Array.from(model.gradient) };
};
const seen = [look()];
for (const [name, ...values] of moves) {
  if (name === "read") read(model, values[0], chapters);
  else model[name](...values);
  seen.push(look());
}
console.log(JSON.stringify(seen));
