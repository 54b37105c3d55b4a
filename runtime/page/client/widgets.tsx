// Small things that every place of the page uses: times in words, a status as a chip, a dialog.

import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { Kind } from './model.ts'

export const clock = (at: number) => new Date(at).toLocaleTimeString(undefined, { hour12: false })

export function age(ms: number): string {
  if (ms < 1_000) return 'now'
  if (ms < 60_000) return `${Math.round(ms / 1_000)} s`
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`
  return `${Math.round(ms / 3_600_000)} h`
}

export const count = (value: number) => value.toLocaleString('en')

/** What sort of status it is: the page's colours know sorts, not names. */
export function sortOf(kind: Kind | undefined, status: string): 'rest' | 'fault' | 'way' | 'held' | 'gone' {
  if (status === 'gone' || status === 'new') return 'gone'
  if (kind?.held.includes(status)) return 'held'
  if (kind?.transitional.includes(status)) return 'way'
  return status.startsWith('error') ? 'fault' : 'rest'
}

export function Chip({ kind, status }: { kind: Kind | undefined; status: string }) {
  return <span class={`chip ${sortOf(kind, status)}`}>{status}</span>
}

/** The browser's own dialog: it keeps the focus inside and gives it back, Escape closes it. */
export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current
    dialog?.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog ref={ref} aria-labelledby="dialog-title" onClose={props.onClose}>
      <h2 id="dialog-title">{props.title}</h2>
      {props.children}
      <button type="button" class="close" aria-label="Close" onClick={props.onClose}>
        ×
      </button>
    </dialog>
  )
}
