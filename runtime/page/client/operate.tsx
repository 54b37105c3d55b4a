// Asks for an operation: a form made of its schema, and the answer in words. What the door refuses is shown as the
// door says it, and the form stays as it was.

import { useState } from 'preact/hooks'
import { ask } from './api.ts'
import type { Operation, Schema } from './model.ts'
import { Dialog } from './widgets.tsx'

export interface OperateProps {
  readonly kind: string
  /** Null for a new one. */
  readonly id: string | null
  readonly operation: Operation
  readonly onClose: () => void
  readonly onDone: (id: string) => void
}

/** Fields as simple as an input is; anything else is asked for as JSON. */
type Field =
  | { readonly name: string; readonly sort: 'text' | 'number' | 'yes'; readonly isNeeded: boolean }
  | {
      readonly name: string
      readonly sort: 'choice'
      readonly choices: readonly string[]
      readonly isNeeded: boolean
    }

function fieldsOf(schema: Schema | null): readonly Field[] | null {
  if (schema === null) return []
  const { properties } = schema
  if (properties === undefined) return null
  return Object.entries(properties).map(([name, of]): Field => {
    const isNeeded = schema.required?.includes(name) === true
    if (of.enum !== undefined) return { name, sort: 'choice', choices: of.enum.map(String), isNeeded }
    if (of.type === 'number' || of.type === 'integer') return { name, sort: 'number', isNeeded }
    if (of.type === 'boolean') return { name, sort: 'yes', isNeeded }
    return { name, sort: 'text', isNeeded }
  })
}

function inputOf(form: FormData, fields: readonly Field[] | null): unknown {
  if (fields === null) return JSON.parse(String(form.get('json') || '{}'))
  const input: Record<string, unknown> = {}
  for (const { name, sort } of fields) {
    const value = String(form.get(name) ?? '')
    if (sort === 'yes') {
      if (value !== '') input[name] = value === 'yes'
    } else if (value !== '') input[name] = sort === 'number' ? Number(value) : value
  }
  return input
}

export function Operate({ kind, id, operation, onClose, onDone }: OperateProps) {
  const [problem, setProblem] = useState<string | null>(null)
  const [isAsking, setAsking] = useState(false)
  const fields = fieldsOf(operation.input)
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    let input: unknown
    try {
      input = inputOf(new FormData(event.currentTarget as HTMLFormElement), fields)
    } catch {
      return setProblem('This is not JSON.')
    }
    setAsking(true)
    const path =
      id === null ? `/resources/${kind}` : `/resources/${kind}/${encodeURIComponent(id)}/${operation.name}`
    const said = await ask<{ id: string }>('POST', path, input)
    setAsking(false)
    if (said.ok) onDone(said.value.id)
    else setProblem(said.problem.message)
  }
  return (
    <Dialog title={id === null ? `New ${kind}` : `${operation.name} ${kind}`} onClose={onClose}>
      <p>{operation.description}</p>
      <form onSubmit={submit}>
        {fields === null ? (
          <label>
            input, as JSON <textarea name="json" rows={5} defaultValue="{}" spellcheck={false} />
          </label>
        ) : (
          fields.map((field) => <Asked key={field.name} field={field} />)
        )}
        {problem !== null && (
          <p class="banner bad" role="alert">
            {problem}
          </p>
        )}
        <div class="row">
          <button type="submit" disabled={isAsking} class={operation.force ? 'bad' : ''}>
            {operation.name}
          </button>
          <button type="button" class="quiet" onClick={onClose}>
            Leave it
          </button>
        </div>
      </form>
    </Dialog>
  )
}

function Asked({ field }: { field: Field }) {
  const { name, sort, isNeeded } = field
  const choices = sort === 'choice' ? field.choices : sort === 'yes' ? ['yes', 'no'] : null
  return (
    <label for={`input-${name}`}>
      {name}
      {!isNeeded && <small> optional</small>}
      {choices !== null ? (
        <select id={`input-${name}`} name={name} required={isNeeded}>
          {!isNeeded && <option value="" />}
          {choices.map((choice) => (
            <option key={choice} value={choice}>
              {choice}
            </option>
          ))}
        </select>
      ) : sort === 'number' ? (
        <input
          id={`input-${name}`}
          name={name}
          type="number"
          step="any"
          required={isNeeded}
          autoComplete="off"
        />
      ) : (
        <input id={`input-${name}`} name={name} type="text" required={isNeeded} autoComplete="off" />
      )}
    </label>
  )
}
