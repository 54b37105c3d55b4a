// The live page, as a part of the HTTP door.

export { createPage, type Page, type PageOptions } from './page.ts'
