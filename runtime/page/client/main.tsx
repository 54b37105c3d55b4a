// Mounts the page and keeps its places: overview, one a kind, one a resource, by the address behind '#', so that
// the browser's own back and forward work. One world is shown at a time: the real one, or the crash story's.

import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { ask, keepToken, onTokenWanted } from './api.ts'
import { Connection } from './feed.ts'
import { KindPage } from './kind.tsx'
import { World } from './model.ts'
import { Overview } from './overview.tsx'
import { ResourcePage } from './resource.tsx'
import { Timeline } from './timeline.tsx'
import { clock, Dialog } from './widgets.tsx'

type Place =
  | { readonly at: 'overview' }
  | { readonly at: 'kind'; readonly kind: string; readonly status: string | null }
  | { readonly at: 'resource'; readonly kind: string; readonly id: string }

function placeOf(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const [kind, id] = path.split('/').map(decodeURIComponent)
  if (!kind) return { at: 'overview' }
  if (id) return { at: 'resource', kind, id }
  return { at: 'kind', kind, status: new URLSearchParams(query).get('status') }
}

function App() {
  const [place, setPlace] = useState<Place>(placeOf(location.hash))
  const [name, setName] = useState<'real' | 'story'>('real')
  const [{ world }, setWorld] = useState(() => ({ world: new World() }))
  const [, setFrame] = useState(0)
  const [isTokenWanted, setTokenWanted] = useState(false)
  const [problem, setProblem] = useState<string | null>(null)

  useEffect(() => {
    const onHash = () => setPlace(placeOf(location.hash))
    addEventListener('hashchange', onHash)
    onTokenWanted.call = () => setTokenWanted(true)
    return () => removeEventListener('hashchange', onHash)
  }, [])

  useEffect(() => {
    const shown = new World()
    setWorld({ world: shown })
    const connection = new Connection(shown, name)
    const unlisten = shown.listen(() => setFrame((frame) => frame + 1))
    return () => {
      unlisten()
      connection.close()
    }
  }, [name, isTokenWanted])

  const begin = async () => {
    setProblem(null)
    const said = await ask('POST', '/page/story')
    if (!said.ok) return setProblem(said.problem.message)
    location.hash = '#/'
    // A story that is shown already is another one now.
    setName('real')
    setTimeout(() => setName('story'), 0)
  }
  const leave = () => {
    setName('real')
    location.hash = '#/'
  }

  return (
    <div class={`page ${world.isPast ? 'past' : ''} ${world.liveness}`}>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        To the content
      </button>
      <header>
        <a class="brand" href="#/">
          <span aria-hidden="true">◆</span> rekindle
        </a>
        <nav aria-label="Places">
          <a href="#/" aria-current={place.at === 'overview' ? 'page' : undefined}>
            Overview
          </a>
          {world.kinds.map(({ kind }) => (
            <a
              key={kind}
              href={`#/${kind}`}
              aria-current={place.at !== 'overview' && place.kind === kind ? 'page' : undefined}
            >
              {kind}
            </a>
          ))}
        </nav>
        <Connected world={world} />
        {name === 'real' ? (
          <button type="button" class="quiet" onClick={begin}>
            Crash story
          </button>
        ) : (
          <button type="button" onClick={leave}>
            Leave the story
          </button>
        )}
      </header>
      {problem !== null && (
        <p class="banner bad" role="alert">
          {problem}
        </p>
      )}
      {world.liveness === 'lost' && (
        <p class="banner bad" role="alert">
          {world.pulse !== null && world.pulse.state !== 'open'
            ? `rekindle is ${world.pulse.state}: its store is lost or it is stopping. What is shown is from before.`
            : `The connection is lost${world.lostAt === null ? '' : ` since ${clock(world.lostAt)}`}. What is shown is from before; the page tries again by itself.`}
        </p>
      )}
      {name === 'story' && (
        <p class="banner story" role="status">
          <strong>Crash story</strong> {world.caption?.text ?? 'A small world of its own is made…'}
          {world.caption?.isLast && (
            <button type="button" onClick={begin}>
              Once more
            </button>
          )}
        </p>
      )}
      {world.isPast && (
        <p class="banner then" role="status">
          You look at {clock(world.cursor!.at)}, after step {world.at + 1} of {world.steps.length}.
          <button type="button" onClick={() => world.go(null)}>
            Back to the present
          </button>
        </p>
      )}
      <main id="main" tabIndex={-1}>
        {place.at === 'overview' && <Overview world={world} canAct={name === 'real'} />}
        {place.at === 'kind' && (
          <KindPage key={place.kind} world={world} name={name} kind={place.kind} status={place.status} />
        )}
        {place.at === 'resource' && (
          <ResourcePage
            key={`${place.kind}/${place.id}`}
            world={world}
            name={name}
            kind={place.kind}
            id={place.id}
          />
        )}
      </main>
      <Timeline world={world} />
      {isTokenWanted && (
        <Dialog title="A token is needed" onClose={() => setTokenWanted(false)}>
          <form
            onSubmit={(event) => {
              event.preventDefault()
              keepToken(String(new FormData(event.currentTarget).get('token')))
              setTokenWanted(false)
            }}
          >
            <label>
              Token <input name="token" type="password" autoComplete="off" required />
            </label>
            <button type="submit">Use it</button>
          </form>
        </Dialog>
      )}
    </div>
  )
}

function Connected({ world }: { world: World }) {
  const words = { connecting: 'connecting', live: 'live', lost: 'not live' }[world.liveness]
  return (
    <span class={`connected ${world.liveness}`} role="status">
      <i aria-hidden="true" /> {words}
      {world.loaded || world.liveness !== 'live' ? '' : ', reading…'}
    </span>
  )
}

render(<App />, document.getElementById('app')!)
