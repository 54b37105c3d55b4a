// The live page in a real browser: what somebody would do with it, and what somebody might do to it.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { emptyRow } from '../../machines/index.ts'
import { memoryStore, type ResourceRow } from '../../runtime/index.ts'
import type { StoredRow } from '../../store/store.ts'
import { chromiumPath, launched, opened, type Served, served, skipped } from './browser.ts'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

describe.skipIf(chromiumPath === null)(`the live page${skipped}`, () => {
  let browser: Browser
  let here: Served | null = null
  const complaints: string[] = []
  beforeAll(async () => {
    browser = await launched()
  })
  afterEach(async () => {
    await here?.close()
    here = null
    expect(complaints.splice(0)).toEqual([])
  })
  afterAll(() => browser.close())

  test('a volume is created, watched until it is available, and stepped back in time', async () => {
    here = await served()
    const page = await opened(browser, `${here.url}/#/volume`, complaints)
    await page.getByRole('button', { name: 'New volume' }).click()
    await page.getByLabel('name').fill('photos')
    await page.getByLabel('size').fill('2')
    await page.getByRole('button', { name: 'create', exact: true }).click()
    await page.getByRole('heading', { name: 'photos' }).waitFor()
    await page.locator('.heading .chip', { hasText: 'available' }).waitFor()
    // The chart has the state it is in, and the way it took.
    await page.locator('.state.current', { hasText: 'available' }).waitFor()
    expect(await page.locator('.state.visited', { hasText: 'creating' }).count()).toBe(1)
    const happened = page.getByRole('region', { name: 'What happened' }).getByRole('listitem')
    expect(await happened.allInnerTexts()).toEqual([
      expect.stringMatching(/create done: available by h\d@file/),
      expect.stringMatching(/create claimed by h\d@file/),
      expect.stringContaining('create accepted by api'),
    ])
    // One step back it is being made; the table and the chart say so too.
    await page.getByRole('button', { name: 'One step back' }).click()
    await page.locator('.heading .chip', { hasText: 'creating' }).waitFor()
    await page.locator('.state.current', { hasText: 'creating' }).waitFor()
    await page.goto(`${here.url}/#/volume`)
    await page.getByRole('row').filter({ hasText: 'photos' }).filter({ hasText: 'creating' }).waitFor()
    await page.getByRole('button', { name: 'Back to the present' }).click()
    await page.getByRole('row').filter({ hasText: 'photos' }).filter({ hasText: 'available' }).waitFor()
    await page.close()
  })

  test('an operation that its status does not take says why, and a refused one shows what the door says', async () => {
    here = await served({ work_ms: 50 })
    const made = await here.runtime.volume.create({ name: 'small', size: 2 })
    if (!made.ok) throw new Error(made.message)
    await made.settled()
    const page = await opened(browser, `${here.url}/#/volume/${made.id}`, complaints)
    await page.getByRole('button', { name: 'unreserve' }).click({ force: true })
    await page.getByText('unreserve is not for a resource that is available; it has to be reserved').waitFor()
    await page.getByRole('button', { name: 'extend', exact: true }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('size').fill('1')
    await dialog.getByRole('button', { name: 'extend', exact: true }).click()
    await dialog.getByText('its guard isLarger says no').waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    await page.close()
  })

  test('a node that is killed half-way is seen down, and its work put right', async () => {
    here = await served({ work_ms: 60_000 })
    const made = await here.runtime.volume.create({ name: 'half', size: 1 })
    if (!made.ok) throw new Error(made.message)
    const page = await opened(browser, `${here.url}/`, complaints)
    const victim = page.locator('.node', { hasText: 'half' })
    await victim.waitFor()
    const host = (await victim.getByRole('heading').textContent())!
    await victim.getByRole('button', { name: 'Kill' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Kill' }).click()
    await page.getByText(`${host} is killed`).waitFor()
    // Seen down and cleaned up; its next life is a later one.
    const again = page.locator('.node', { has: page.getByRole('heading', { name: host, exact: true }) })
    await again.getByText('1, cleanup done').waitFor()
    await again.getByRole('button', { name: 'Start' }).click()
    await again.locator('dd').first().filter({ hasText: /^2/ }).waitFor()
    await page.goto(`${here.url}/#/volume/${made.id}`)
    await page.locator('.heading .chip', { hasText: 'error' }).waitFor()
    await page
      .getByText('cleanup of create done: error')
      .or(page.getByText('create put right: error'))
      .first()
      .waitFor()
    await page.close()
  })

  test('names are text, whatever they look like, and nothing is loaded from elsewhere', async () => {
    here = await served({ work_ms: 10 })
    const name = '<img src=x onerror=alert(1)>'
    const made = await here.runtime.volume.create({ name, size: 1 })
    if (!made.ok) throw new Error(made.message)
    const asked: string[] = []
    const page = await browser.newPage()
    page.on('request', (request) => asked.push(new URL(request.url()).origin))
    page.on('dialog', (dialog) => complaints.push(dialog.message()))
    page.on('pageerror', (error) => complaints.push(error.message))
    const answer = await page.goto(`${here.url}/#/volume/${made.id}`)
    const policy = answer!.headers()['content-security-policy']
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    await page.getByRole('heading', { name }).waitFor()
    await page.goto(`${here.url}/#/volume`)
    await page.getByRole('link', { name }).waitFor()
    expect(await page.locator('img').count()).toBe(0)
    expect(
      [...new Set(asked)].filter((origin) => origin !== new URL(here!.url).origin && origin !== 'null'),
    ).toEqual([])
    await page.close()
  })

  test('a lost connection is said at once, and what was missed is there when it is back', async () => {
    here = await served({ work_ms: 10 })
    const page = await opened(browser, `${here.url}/#/volume`, complaints)
    const second = await opened(browser, `${here.url}/#/volume`, complaints)
    for (const tab of [page, second]) await tab.locator('.connected.live').waitFor()
    await here.unplug()
    await page.getByRole('alert').filter({ hasText: 'The connection is lost' }).waitFor()
    await page.locator('.connected.lost').waitFor()
    const made = await here.runtime.volume.create({ name: 'meanwhile', size: 1 })
    if (!made.ok) throw new Error(made.message)
    await made.settled()
    await here.plugIn()
    for (const tab of [page, second]) {
      await tab.locator('.connected.live').waitFor()
      await tab.getByRole('row').filter({ hasText: 'meanwhile' }).filter({ hasText: 'available' }).waitFor()
      await tab.close()
    }
  })

  // Half a minute on two cores: `npm run page`.
  test.skipIf(process.env.EFFECTS !== 'all')('a hundred thousand resources scroll and filter', async () => {
    const store = memoryStore()
    const filling = await store.open()
    const rest = { status: 'available', host: 'h1', fence: 1, created_at: 1, updated_at: 1 }
    for (let from = 0; from < 100_000; from += 10_000) {
      const rows = Array.from({ length: 10_000 }, (_, i): ResourceRow => {
        const id = `v${String(from + i).padStart(6, '0')}`
        const data = { name: `disk ${from + i}`, size: 1 }
        return { ...emptyRow('volume', id, 'demo@file'), ...rest, version: 1, data }
      })
      await filling.transact(
        rows.map(({ id }) => ({ key: `volume/${id}`, version: 0 })),
        rows.map((row) => ({ put: row as unknown as StoredRow })),
      )
    }
    await filling.close()
    here = await served({ store })
    const page = await opened(browser, `${here.url}/#/volume`, complaints)
    await page.getByText('100,000 of 100,000').waitFor()
    const body = page.locator('.body')
    const frames = await body.evaluate(async (element) => {
      const times: number[] = []
      let last = performance.now()
      for (let i = 0; i < 60; i++) {
        element.scrollTop = (i * element.scrollHeight) / 60
        await new Promise(
          (globalThis as unknown as { requestAnimationFrame: (run: (at: number) => void) => void })
            .requestAnimationFrame,
        )
        times.push(performance.now() - last)
        last = performance.now()
      }
      return times.sort((a, b) => a - b)
    })
    console.info(
      `scrolling 100,000 rows: median frame ${frames[30]!.toFixed(1)} ms, longest ${frames[59]!.toFixed(1)} ms`,
    )
    // Only what is on the screen exists.
    expect(await body.getByRole('row').count()).toBeLessThan(80)
    await page.getByLabel('find').fill('disk 99999')
    await page.getByText('1 of 100,000').waitFor()
    await page.getByRole('row').filter({ hasText: 'disk 99999' }).waitFor()
    await page.close()
  })

  test.each(['#/', '#/volume', 'resource'])(
    'an accessibility scan of %s finds nothing serious',
    async (place) => {
      here = await served({ work_ms: 10 })
      const made = await here.runtime.volume.create({ name: 'photos', size: 1 })
      if (!made.ok) throw new Error(made.message)
      await made.settled()
      // Light as well, by `npm run page`.
      for (const colorScheme of process.env.EFFECTS === 'all'
        ? (['light', 'dark'] as const)
        : (['dark'] as const)) {
        const context = await browser.newContext({ colorScheme, bypassCSP: true, reducedMotion: 'reduce' })
        const page = await opened(
          context,
          `${here.url}/${place === 'resource' ? `#/volume/${made.id}` : place}`,
          complaints,
        )
        await page.getByRole('heading', { level: 1 }).waitFor()
        if (place !== '#/') await page.locator('.chart svg').waitFor()
        await page.addScriptTag({ content: axe })
        const serious = await page.evaluate(async () => {
          const { axe: run } = globalThis as unknown as {
            axe: {
              run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }>
            }
          }
          const { violations } = await run.run()
          return violations
            .filter(({ impact }) => impact === 'serious' || impact === 'critical')
            .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`)
        })
        expect(serious).toEqual([])
        await context.close()
      }
    },
  )

  test('it fits a narrow screen without a sideways scroll of the page', async () => {
    here = await served({ work_ms: 10 })
    const context = await browser.newContext({ viewport: { width: 390, height: 800 } })
    for (const place of ['#/', '#/volume']) {
      const page = await opened(context, `${here.url}/${place}`, complaints)
      await page.getByRole('heading', { level: 1 }).waitFor()
      expect(await page.locator('html').evaluate(({ scrollWidth }) => scrollWidth)).toBeLessThanOrEqual(390)
    }
    await context.close()
  })
})
