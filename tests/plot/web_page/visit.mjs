// Visits a page as a reader does, for test_browser.py: node visit.mjs BROWSER PAGE
// Prints what axe-core finds at each level, wide and narrow, light and dark, and what keys and the
// mouse do.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [executablePath, file] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
const result = { errors: [], violations: {}, places: {}, kept: {}, rows: {}, tables: {} };
page.on("pageerror", (error) => result.errors.push(error.message));
page.on("console", (line) => result.errors.push(line.text()));
page.on("request", (one) => {
  if (!/^(file|data|about):/.test(one.url())) result.errors.push(`asked for ${one.url()}`);
});

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function open(address, width = 1200) {
  await page.setViewport({ width, height: 900 });
  await page.goto("about:blank");
  await page.goto(`${pathToFileURL(file)}#${address}`);
}

async function place() {
  await wait(300); // The address follows a little later.
  const hash = await page.evaluate(() => location.hash);
  return Object.fromEntries(new URLSearchParams(hash.slice(1)));
}

/** Opens all tables of a part of the page, and returns their rows, each with its name. */
async function readTables(part = ".view") {
  await page.$$eval(`${part} details`, (all) => all.forEach((one) => (one.open = true)));
  await wait(100);
  return page.$$eval(`${part} details`, (all) =>
    Object.fromEntries(
      all.map((one) => [
        one.dataset.of,
        [...one.querySelectorAll("tbody tr")].map((row) =>
          [...row.children].map((cell) => cell.textContent),
        ),
      ]),
    ),
  );
}

const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim());

async function drag(from, to) {
  await page.mouse.move(...from);
  await page.mouse.down();
  await page.mouse.move(...to, { steps: 5 });
  await page.mouse.up();
}

// Movement first: with reduced motion there are no transitions.
await open("t=1&z0=0");
for (const level of ["cell", "unit", "sequence"]) {
  await page.click(`#level-${level}`);
  await wait(700);
}

const levels = [
  ...["level=sequence&t=3", "level=cell&t=3", "level=cell&chapter=9"],
  ...["level=unit&gate=c", "level=unit&gate=h"],
];
for (const scheme of ["light", "dark"]) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  for (const width of [1200, 400]) {
    for (const address of levels) {
      await open(address, width);
      await readTables("#gru");
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run());
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      const lines = violations.map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)}`);
      if (over > 0) lines.push(`wider than the window by ${over}`);
      result.violations[`${scheme} ${width} ${address}`] = lines;
    }
  }
}

const still = { name: "prefers-reduced-motion", value: "reduce" };
await page.emulateMediaFeatures([still]);
await open("t=2&unit=1");
for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowDown", "+", "+", "g"]) {
  await page.keyboard.press(key);
}
result.places.keys = await place();
await page.keyboard.press("Escape");
result.places.escape = await place();
await open("t=2");
const canvas = (await page.$$(".map canvas"))[4];
await canvas.scrollIntoView();
const map = await canvas.boundingBox();
await page.mouse.click(map.x + 0.99 * map.width, map.y + 0.99 * map.height);
result.places.click = await place();

// Rows of units are in the chosen order, in the pictures and in their tables.
const paint = (node) => Array.from(node.getContext("2d").getImageData(3, 0, 1, node.height).data);
for (const sort of ["number", "speed"]) {
  await open(`t=2&unit=2&z0=1&sort=${sort}`);
  result.rows[sort] = {
    tables: await readTables(),
    names: await page.$$eval(".labels", (all) => all.map((one) => one.innerText.split("\n"))),
    colours: await page.$$eval(".map canvas", (all, code) => all.map(eval(code)), `${paint}`),
    marks: await page.$$eval(".row", (all) => all.map((one) => one.style.top)),
  };
}
const picture = (await page.$$(".map canvas"))[2];
await picture.scrollIntoView();
const corner = await picture.boundingBox();
await page.mouse.click(corner.x + 1, corner.y + 1);
result.rows.click = await place();
await page.keyboard.press("ArrowDown");
result.rows.down = await place();
await page.focus(".controls [type=checkbox]");
await page.keyboard.press("Space");
result.rows.toggled = await place();

// Every picture has its table, and each level its own.
for (const address of ["level=cell&t=3&unit=2", "level=unit&t=3&unit=2&gate=c"]) {
  await open(address);
  result.tables[address] = await readTables();
  const here = await page.$$eval("tr[aria-current]", (all) => all.map((one) => one.innerText));
  result.tables[address].here = here;
}
await page.click(".tabs button:nth-child(1)");
await wait(100);
result.tables.kept = await page.$$eval("details[open]", (all) => all.map((one) => one.dataset.of));
await page.click("#level-sequence");
await wait(100);
result.tables.left = await page.$$eval("details[open]", (all) => all.length);

// The last chapter has a table of its own.
await open("level=cell&chapter=9");
result.tables.story = (await readTables(".story")).comparison ?? [];

// A table stays open, and keeps the focus, while keys change the step.
await open("t=2");
await page.focus("summary");
await page.keyboard.press("Space");
await page.keyboard.press("ArrowRight");
await wait(100);
const table = () => page.$eval("details", (one) => [one.open, one.querySelectorAll("td").length]);
result.kept.table = [await table(), await focused(), (await place()).t];

// Buttons in the picture keep the focus.
await open("level=unit&gate=r");
await page.focus(".tabs button:nth-child(3)");
await page.keyboard.press("Enter");
result.kept.tab = [await focused(), (await place()).gate];

// Sliders can be dragged.
await open("t=0");
const step = await (await page.$("#step")).boundingBox();
const middle = step.y + step.height / 2;
await drag([step.x + 4, middle], [step.x + step.width - 4, middle]);
result.places.slider = await place();

// A box is dragged up; a click that trembles only opens it.
await open("level=cell&t=2");
const input = await (await page.$(".column.x .box")).boundingBox();
await drag([input.x + 5, input.y + 5], [input.x + 5, input.y - 25]);
await page.mouse.move(input.x + 5, input.y - 95);
result.places.drag = await place();
await page.reload();
result.places.again = await place();
await page.click("#undo");
result.places.undone = await place();
const box = await (await page.$(".column:last-child .box")).boundingBox();
await drag([box.x + 5, box.y + 5], [box.x + 6, box.y + 6]);
result.places.tremble = await place();

// Changes of all cells are in the address, and an address may be edited.
await open("t=1&r0=1&z1=0");
await page.evaluate(() => (location.hash = "#t=4&r0=1&z1=0&cell=1"));
result.places.edited = await place();

// As notebooks show it.
await page.evaluate(
  (text) => {
    const frame = document.createElement("iframe");
    frame.srcdoc = text;
    document.body.replaceChildren(frame);
    return new Promise((done) => (frame.onload = done));
  },
  readFileSync(file, "utf8"),
);
const frame = page.frames()[1];
await frame.click("#on");
result.places.frame = await frame.$eval(".controls output", (one) => one.textContent);
await browser.close();
console.log(JSON.stringify(result));
