// Drives one browser by the orders of a test, which come as those of
// e2e/clients/node/orders.mjs: launch first, then what is below. The browser
// ends with this process, whatever ends it.
import { readFile } from 'node:fs/promises'
import puppeteer from 'puppeteer-core'
import { obey } from '../../clients/node/orders.mjs'

const ends = await readFile(new URL('../../clients/node/ends.mjs', import.meta.url), 'utf8')

let browser
const pages = [] // { page, said }

// moduleURL is a module's text as something that a page can import.
const moduleURL = (text) => 'data:text/javascript;base64,' + Buffer.from(text).toString('base64')

async function launch({ browser: which, executable, profile, args, prefs, insecure }) {
  const common = {
    // The browser is killed with this process: by the kernel, if need be.
    executablePath: executable,
    headless: true,
    userDataDir: profile,
    acceptInsecureCerts: !!insecure,
    timeout: 60_000,
    protocolTimeout: 120_000,
    args: args ?? []
  }
  browser = await puppeteer.launch(
    which === 'firefox'
      ? { ...common, browser: 'firefox', extraPrefsFirefox: prefs ?? {} }
      : { ...common, pipe: true, args: ['--no-sandbox', '--disable-dev-shm-usage', ...common.args] }
  )
  return { value: { version: await browser.version(), pid: browser.process().pid } }
}

// listen keeps what a page says until it is asked for, and not without end.
function listen(page) {
  const said = []
  const say = (type, text) => {
    if (said.length < 1000) said.push({ type, text: text.slice(0, 10_000) })
  }
  page.on('console', (message) => say(message.type(), message.text()))
  page.on('pageerror', (error) => say('uncaught', `${error?.name}: ${error?.message ?? error}`))
  return said
}

async function open({ url, width, height, mobile }) {
  const page = await browser.newPage()
  const said = listen(page)
  if (width) await page.setViewport({ width, height, ...(mobile && { isMobile: true, hasTouch: true, deviceScaleFactor: 2 }) })
  pages.push({ page, said })
  await page.goto(url, { waitUntil: 'load', timeout: 60_000 })
  await prepare(page)
  return { value: { page: pages.length - 1 } }
}

// prepare gives a page its ends of sessions. They come as a script, because a
// page's policy may forbid it to import them.
const prepare = (page) =>
  page.evaluate(`{
    ${ends.replace(/^export /gm, '')}
    const abortReason = (streamErrorCode) => {
      try {
        return new WebTransportError('aborted', { source: 'stream', streamErrorCode })
      } catch {
        return new WebTransportError({ message: 'aborted', streamErrorCode }) // as the draft had it before
      }
    }
    globalThis.towpath = { ends: new Ends(abortReason), modules: {} }
    null
  }`)

// The orders of a page. Those for an end in it go to its ends.
const ofPage = {
  goto: async ({ page }, { url }) => {
    await page.goto(url, { waitUntil: 'load', timeout: 60_000 })
    await prepare(page)
  },

  // load imports a module from a URL, or from a file of the test's.
  load: async ({ page }, { name, url, file }) => {
    const from = url ?? moduleURL(await readFile(file))
    await page.evaluate(
      async (name, from) => {
        globalThis.towpath.modules[name] = await import(from)
      },
      name,
      from
    )
  },

  // dial makes a session of the class WebTransport of a module or the page's own,
  // for the orders of ends.
  dial: ({ page }, arg) =>
    page.evaluate(async ({ url, hash, module, options }) => {
      const { ends, modules } = globalThis.towpath
      const { WebTransport } = module ? modules[module] : globalThis
      const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))
      const session = new WebTransport(url, {
        ...options,
        ...(hash && { serverCertificateHashes: [{ algorithm: 'sha-256', value: bytes(hash) }] })
      })
      session.closed.catch(() => {})
      await session.ready
      return ends.add(session)
    }, arg),

  // run calls the function whose text is given with the argument. In it
  // towpath.ends and towpath.modules are at hand.
  run: async ({ page }, { script, argument }) => ({
    value: (await page.evaluate(`(${script})(${JSON.stringify(argument ?? null)})`)) ?? null
  }),

  click: async ({ page }, { selector }) => page.click(selector),

  screenshot: async ({ page }, { file, full }) => void (await page.screenshot({ path: file, fullPage: !!full })),

  console: ({ said }) => ({ value: said.splice(0) }),

  closePage: async ({ page }) => page.close({ runBeforeUnload: false })
}

const ofBrowser = {
  launch,
  open,
  close: async () => browser.close()
}

const carryOut = (orders, order, ...args) => {
  if (!Object.hasOwn(orders, order.op)) throw new Error(`there is no order ${order.op} here`)
  return orders[order.op](...args)
}

obey(async (order) => {
  if (order.page === undefined) return carryOut(ofBrowser, order, order.arg ?? {})
  const page = pages[order.page]
  if (!page) throw new Error(`there is no page ${order.page}`)
  const { page: _, ...rest } = order
  if ('session' in order || 'stream' in order) return page.page.evaluate((order) => globalThis.towpath.ends.do(order), rest)
  return carryOut(ofPage, order, page, order.arg ?? {})
})
