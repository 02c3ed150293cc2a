// node scripts/page.mjs [--check]
//
// Bundles page/ with the package into ../cmd/towpath/page, which the command
// embeds. With --check nothing is written: it fails if what is there is not what
// the source gives.
import { build } from 'esbuild'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { root } from './paths.mjs'

const out = `${root}../cmd/towpath/page/`

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: { page: 'page/main.ts' },
  outdir: 'bundle',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none', // licenses.txt has them whole
  write: false,
})
const styles = await build({
  absWorkingDir: root,
  stdin: { contents: '@import "uplot/dist/uPlot.min.css";\n@import "./page/page.css";', loader: 'css', resolveDir: root },
  bundle: true,
  minify: true,
  target: ['chrome123', 'firefox120', 'safari17.5'],
  charset: 'utf8',
  legalComments: 'none',
  write: false,
})
const text = name => readFileSync(root + name)
const licences = `Towpath\n\n${text('LICENSE')}\n\nuPlot, which draws the plot\n\n${text('node_modules/uplot/LICENSE')}`
const files = {
  'index.html': text('page/index.html'),
  'page.js': Buffer.from(outputFiles[0].contents),
  'page.css': Buffer.from(styles.outputFiles[0].contents),
  'page.svg': text('page/page.svg'),
  'licenses.txt': Buffer.from(licences),
}

if (process.argv.includes('--check')) {
  const there = readdirSync(out)
  const stale = [
    ...Object.keys(files).filter(name => !there.includes(name) || !readFileSync(out + name).equals(files[name])),
    ...there.filter(name => !(name in files)),
  ]
  if (stale.length > 0) {
    console.error(`cmd/towpath/page is not what web/page gives: ${stale.join(', ')}. Run npm run page and commit it.`)
    process.exit(1)
  }
} else {
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out)
  for (const [name, contents] of Object.entries(files)) writeFileSync(out + name, contents)
}
let [bytes, zipped] = [0, 0]
for (const [name, contents] of Object.entries(files)) {
  const gzip = gzipSync(contents, { level: 9 }).length
  bytes += contents.length
  zipped += gzip
  console.log(`${name}: ${contents.length} bytes, ${gzip} gzip`)
}
console.log(`page: ${bytes} bytes, ${zipped} gzip`)
