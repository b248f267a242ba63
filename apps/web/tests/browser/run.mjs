// Drives the built app in headless Chromium and writes what it saw to OUT/seen.json, with downloads and screenshots.
//
// node tests/browser/run.mjs --out OUT --chromium PATH --video CAMERA.mjpeg --photo PHOTO --golden GOLDEN.png
//   --newer FOLDER --changed FOLDER -- COMMAND THAT SERVES THE APP
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import puppeteer from 'puppeteer-core';

const OPTIONS = ['out', 'chromium', 'video', 'photo', 'golden', 'newer', 'changed'];
const { values, positionals } = parseArgs({
  options: Object.fromEntries(OPTIONS.map((name) => [name, { type: 'string' }])),
  allowPositionals: true,
});
const out = resolve(values.out);
const downloads = join(out, 'downloads');
mkdirSync(downloads, { recursive: true });
const seen = {};

const server = spawn(positionals[0], positionals.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
try {
  const url = await address(server);
  await withBrowser(['--deny-permission-prompts', '--use-fake-device-for-media-stream'], (page) => camera(page, url, 'refused'));
  await withBrowser(['--use-fake-ui-for-media-stream'], (page) => camera(page, url, 'missing'));
  const fake = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-video-capture=${values.video}`];
  await withBrowser(fake, (page) => whole(page, url));
} finally {
  server.kill('SIGINT');
  writeFileSync(join(out, 'seen.json'), JSON.stringify(seen, undefined, 1));
}

/** The main walk through the app. */
async function whole(page, url) {
  const started = Date.now();
  await page.goto(url);
  await checked(page);
  seen.firstMapMs = Date.now() - started;
  seen.isolated = await page.evaluate(() => window.crossOriginIsolated);
  seen.options = await page.$$eval('select option', (all) => all.map((o) => ({ select: o.parentElement.id, value: o.value, text: o.text, disabled: o.disabled })));

  seen.artifacts = {};
  for (const file of seen.options.filter((o) => o.select === 'artifact' && !o.disabled).map((o) => o.value)) {
    for (const threads of seen.options.some((o) => o.select === 'threads' && o.value === '2' && !o.disabled) ? ['1', '2'] : ['1']) {
      await page.select('#threads', threads);
      await checked(page);
      await page.select('#artifact', file);
      await checked(page);
      await pick(page, values.golden);
      const name = `${file}.${threads}`;
      seen.artifacts[name] = { check: await text(page, '#selfcheck'), engine: await text(page, '#engine'), message: await text(page, '#message') };
      if (seen.artifacts[name].message === '') await saveSegments(page, name);
    }
  }
  await page.select('#threads', '1');
  await checked(page);
  await page.screenshot({ path: join(out, 'golden.png') });

  for (let i = 0; i < 12; i++) await pick(page, values.photo);
  seen.photoTimes = await table(page, '#times');
  seen.legend = await page.$$eval('#legend li', (rows) => rows.map((row) => row.textContent));
  await page.screenshot({ path: join(out, 'photo.png') });

  await page.click('#camera');
  await page.waitForFunction(() => document.body.dataset.shown === 'camera.png');
  await pause(2000);
  seen.cameraTimes = await table(page, '#times');
  await page.click('#freeze');
  const box = await (await page.$('#overlay')).boundingBox();
  await page.mouse.click(box.x + box.width / 2, box.y + box.height * 0.3);
  seen.tapped = await text(page, '#tapped');
  await page.screenshot({ path: join(out, 'camera.png') });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  await page.setViewport({ width: 412, height: 915, deviceScaleFactor: 2 });
  await page.screenshot({ path: join(out, 'phone.png') });
  await page.setViewport({ width: 1280, height: 900 });
  await page.click('#freeze');
  await page.click('#camera');

  await page.$eval('#bench-seconds', (input) => (input.value = '0.2'));
  await page.click('#bench');
  await page.waitForFunction(() => !document.getElementById('bench-save').disabled, { timeout: 60_000 });
  seen.bench = await table(page, '#bench-rows');
  await page.click('#bench-save');
  await downloaded('measurements.jsonl');

  seen.wrong = {};
  for (const name of ['newer', 'changed']) {
    await (await page.$('#open-bundle')).uploadFile(values[name]);
    await page.waitForFunction(() => !document.getElementById('message').hidden);
    seen.wrong[name] = await text(page, '#message');
    await pick(page, values.golden);
  }
  seen.unlabelled = await page.$$eval('button, input, select, canvas', (all) =>
    all.filter((e) => !(e.textContent.trim() || e.labels?.length || e.ariaLabel || e.ariaHidden === 'true')).map((e) => e.id));

  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await page.reload(); // the worker now sees every request
  await checked(page);
  server.kill('SIGINT'); // no network any more
  await new Promise((done) => server.once('close', done));
  await page.reload();
  await checked(page);
  seen.offline = await text(page, '#selfcheck');
}

/** A camera that is refused, or not there: a message, and the picker still works. */
async function camera(page, url, name) {
  await page.goto(url);
  await checked(page);
  await page.click('#camera');
  await page.waitForFunction(() => !document.getElementById('message').hidden);
  const message = await text(page, '#message');
  await pick(page, values.golden);
  seen[name] = { message, shown: await page.evaluate(() => document.body.dataset.shown) };
}

async function withBrowser(flags, walk) {
  const browser = await puppeteer.launch({ executablePath: values.chromium, args: ['--no-sandbox', '--enable-features=SharedArrayBuffer', ...flags] });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    page.on('pageerror', (error) => (seen.errors ??= []).push(String(error)));
    await page.setViewport({ width: 1280, height: 900 });
    const session = await browser.target().createCDPSession();
    await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: downloads });
    await walk(page);
  } finally {
    await browser.close();
  }
}

/** Waits until the self-check under way has ended. */
async function checked(page) {
  await pause(50);
  await page.waitForFunction(() => document.getElementById('selfcheck').dataset.state !== 'waiting');
  await pause(50);
}

async function pick(page, file) {
  await page.evaluate(() => delete document.body.dataset.shown);
  await (await page.$('#pick')).uploadFile(file);
  await page.waitForFunction(() => document.body.dataset.shown);
}

async function saveSegments(page, name) {
  await page.click('#share-segments');
  const shown = await page.evaluate(() => document.body.dataset.shown);
  const stem = shown.replace(/\.[^.]*$/, '');
  for (const end of ['panoptic.json', 'png']) {
    await downloaded(`${stem}.${end}`);
    renameSync(join(downloads, `${stem}.${end}`), join(out, `${name}.${end}`));
  }
}

async function downloaded(file) {
  for (let tries = 0; !existsSync(join(downloads, file)); tries++) {
    if (tries > 200) throw new Error(`${file} was not downloaded`);
    await pause(50);
  }
  rmSync(join(downloads, `${file}.crdownload`), { force: true });
}

async function text(page, selector) {
  return page.$eval(selector, (e) => e.textContent.trim());
}

async function table(page, selector) {
  return page.$$eval(`${selector} tbody tr`, (rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
}

function pause(ms) {
  return new Promise((done) => setTimeout(done, ms));
}

/** The address that the server says when it is ready. */
function address(child) {
  return new Promise((done, fail) => {
    let said = '';
    const listen = (chunk) => {
      said += chunk;
      const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(said);
      if (found) done(found[0]);
    };
    child.stdout.on('data', listen);
    child.stderr.on('data', listen);
    child.on('exit', () => fail(new Error(`the server ended: ${said}`)));
  });
}
