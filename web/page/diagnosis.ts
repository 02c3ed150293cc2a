// What went wrong, from the little that a browser says, and what to do about it.
import type { TransportReport, WebTransportCloseInfo } from '../src/types.js'
import { milliseconds } from './statistics.js'
import type { Choice, Settings } from './settings.js'

export interface Problem {
  /** What is the matter, in one sentence. */
  readonly title: string
  /** What helps. */
  readonly remedy: string
}

export interface Evidence {
  readonly choice: Choice
  /** null if it did not come to an attempt. */
  readonly report: Pick<TransportReport, 'attempts'> | null
  /** Those of the last time that the server answered; null if it never did. */
  readonly settings: Settings | null
  /** Whether the server answers an ordinary request now. */
  readonly answers: boolean
  /** Whether the browser believes that there is a network. */
  readonly online: boolean
  /** Host and port in the address bar. */
  readonly host: string
  /** Milliseconds since 1970. */
  readonly now: number
}

/** Why there is no session. */
export function whyNoSession(e: Evidence): Problem {
  return (
    network(e) ?? {
      h3: () => noHTTP3(e),
      ws: () => noWebSocket,
      auto: () => ({
        title: 'Neither HTTP/3 nor a WebSocket came up.',
        remedy: `${noHTTP3(e).remedy} ${noWebSocket.remedy}`,
      }),
    }[e.choice]()
  )
}

/** Why there is a session no longer. info is there if it was closed and did not break. */
export function whyLost(e: Evidence, info: WebTransportCloseInfo | null): Problem {
  const plain = network(e)
  if (plain !== null) return plain
  if (info === null) return { title: 'The connection broke.', remedy: 'The server still answers, so the page connects again.' }
  const reason = info.reason ? ` “${info.reason}”` : ''
  return {
    title: `The server closed the session with code ${info.closeCode ?? 0}${reason}.`,
    remedy: 'It still answers, so the page connects again.',
  }
}

/** What is the matter before any session is: network, server, certificate, Origin. */
function network(e: Evidence): Problem | null {
  if (!e.online) return { title: 'This device is offline.', remedy: 'The page connects again once there is a network.' }
  const s = e.settings
  if (s !== null && s.certificateExpires !== null && s.certificateExpires <= e.now) {
    return {
      title: 'The certificate of the server has expired.',
      remedy: 'Start towpath serve again, which makes a new one. Then reload this page and accept it.',
    }
  }
  if (!e.answers) {
    const restarted = s === null || s.certificateHashes.length > 0
    return {
      title: 'The server does not answer.',
      remedy: `Start towpath serve again.${restarted ? ' It then has a new certificate: reload this page to accept it.' : ''}`,
    }
  }
  if (s !== null && s.host !== e.host) {
    return {
      title: `The server refuses this page’s Origin: it was asked for ${s.host}, the page came from ${e.host}.`,
      remedy: `Let the proxy in between pass the Host field on unchanged, or start towpath serve with --origin ${e.host}.`,
    }
  }
  return null
}

/** What would let HTTP/3 through where a race had to end on a WebSocket; "" if there is nothing to say. */
export function whatWouldHelp(choice: Choice, settings: Settings, report: Pick<TransportReport, 'way' | 'attempts'>): string {
  const h3 = report.attempts.find(a => a.way === 'h3')
  if (choice !== 'auto' || report.way !== 'ws' || h3 === undefined) return ''
  switch (h3.outcome) {
    case 'failed':
      return refused(settings)
    case 'given up':
      return silent
    default:
      return ''
  }
}

/** Milliseconds from which on a failure means silence, not a refusal. */
const silence = 2000

function noHTTP3(e: Evidence): Problem {
  const attempt = e.report?.attempts.find(a => a.way === 'h3')
  const took = attempt?.ended == null ? null : attempt.ended - attempt.started
  if (took === null || took >= silence) {
    return {
      title: took === null ? 'There is no answer over UDP.' : `There was no answer over UDP in ${milliseconds(took)}.`,
      remedy: silent,
    }
  }
  return {
    title: `HTTP/3 was refused after ${milliseconds(took)}.`,
    remedy: refused(e.settings),
  }
}

const silent = 'UDP is dropped on the way, or its port is not forwarded: let UDP through to the same port as TCP.'

function refused(settings: Settings | null): string {
  return settings !== null && settings.certificateHashes.length > 0
    ? 'The UDP port is closed, or leads to another server than TCP does: forward UDP to the same port.'
    : 'The UDP port is closed, or the browser does not accept the certificate over QUIC: that takes one of a public CA, or towpath serve without --cert.'
}

const noWebSocket: Problem = {
  title: 'The WebSocket did not come up.',
  remedy: 'Something on the way does not pass WebSockets, or the server refused the session: towpath serve -v says why.',
}
