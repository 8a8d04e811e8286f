// Bundles src/ into dist/: node build.mjs [--check]
//   index.html     the page, script and styles inside
//   csp.txt        its Content-Security-Policy, which allows exactly that script and those styles
//   sources.sha256 of the files that went in, so that a stale bundle shows without building
// --check builds in memory and fails when dist/ differs.
import {createHash} from 'node:crypto';
import {readFileSync, readdirSync, writeFileSync, mkdirSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import * as esbuild from 'esbuild';

const root = fileURLToPath(new URL('.', import.meta.url));
const read = (name) => readFileSync(root + name);
const sha256 = (text, encoding) => createHash('sha256').update(text).digest(encoding);

async function bundle() {
  const built = await esbuild.build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts'],
    bundle: true,
    minify: true,
    write: false,
    outdir: 'dist',
    format: 'iife',
    target: 'es2021',
    charset: 'utf8',
    legalComments: 'none',
  });
  const text = (suffix) => built.outputFiles.find((file) => file.path.endsWith(suffix)).text.trim();
  return {script: text('.js').replaceAll('</script', '<\\/script'), style: text('.css')};
}

function page({script, style}) {
  const notice = `<!-- Contains uPlot, MIT License:\n${read('node_modules/uplot/LICENSE')}-->\n`;
  return read('index.html').toString()
    .replace('<html', () => notice + '<html')
    .replace('/*STYLE*/', () => style)
    .replace('/*SCRIPT*/', () => script);
}

function policy({script, style}) {
  const hash = (text) => `'sha256-${sha256(text, 'base64')}'`;
  return [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

// "name:digest" lines, sorted by name; tests/e2e/test_dashboard.py makes the same.
function sources() {
  const names = ['build.mjs', 'index.html', 'package-lock.json', 'package.json', 'tsconfig.json',
    ...readdirSync(root + 'src').map((name) => `src/${name}`)].sort();
  return sha256(names.map((name) => `${name}:${sha256(read(name), 'hex')}\n`).join(''), 'hex') + '\n';
}

const parts = await bundle();
const outputs = {'index.html': page(parts), 'csp.txt': policy(parts), 'sources.sha256': sources()};
mkdirSync(root + 'dist', {recursive: true});
for (const [name, text] of Object.entries(outputs)) {
  if (!process.argv.includes('--check')) {
    writeFileSync(root + 'dist/' + name, text);
  } else if (read('dist/' + name).toString() !== text) {
    console.error(`web/dist/${name} is stale: run npm run build in web/`);
    process.exitCode = 1;
  }
}
