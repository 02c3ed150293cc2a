export type ErrorSource = 'stream' | 'session'

export interface WebTransportErrorOptions {
  source?: ErrorSource
  /** 0 to 2^32 - 1, or null where there is none. */
  streamErrorCode?: number | null
}

/** The W3C's WebTransportError: its name is "WebTransportError", its code 0. */
export interface WebTransportError extends DOMException {
  /** Whether a stream or the whole session failed. */
  readonly source: ErrorSource
  /** The code of the RESET or STOP that a stream ended by; null for a session. */
  readonly streamErrorCode: number | null
}

type ErrorConstructor = new (message?: string, options?: WebTransportErrorOptions) => WebTransportError

class OwnWebTransportError extends DOMException implements WebTransportError {
  readonly source: ErrorSource
  readonly streamErrorCode: number | null

  constructor(message = '', options: WebTransportErrorOptions = {}) {
    super(message, 'WebTransportError')
    this.source = options.source ?? 'stream'
    this.streamErrorCode = options.streamErrorCode ?? null
  }
}

/**
 * The browser's own class where there is one, so that instanceof holds whichever
 * way a session came and whichever of the two is asked; otherwise one like it.
 */
export const WebTransportError: ErrorConstructor = errorClass((globalThis as { WebTransportError?: unknown }).WebTransportError)

/** @internal Makes errors of the browser's class by the draft's present constructor. */
export function errorClass(native: unknown): ErrorConstructor {
  if (typeof native !== 'function') return OwnWebTransportError
  const browsers = native as new (...args: unknown[]) => WebTransportError
  const make = function (message = '', options: WebTransportErrorOptions = {}): WebTransportError {
    const { source = 'stream', streamErrorCode = null } = options
    let error: WebTransportError
    try {
      error = new browsers(message, { source, streamErrorCode })
    } catch {
      // Chromium 156 and Firefox 153 have the older constructor, which takes all
      // in one object, has no source and keeps at most 255 of the code. What it
      // keeps is what the browser aborts its own streams with.
      error = new browsers(streamErrorCode === null ? { message } : { message, streamErrorCode })
    }
    if (error.source !== source) own(error, 'source', source)
    if (error.streamErrorCode !== streamErrorCode) own(error, 'streamErrorCode', streamErrorCode)
    return error
  }
  make.prototype = browsers.prototype
  return make as unknown as ErrorConstructor
}

/** A failure of the whole session. The cause, if any, is kept in `cause`. */
export function sessionError(message: string, cause?: unknown): WebTransportError {
  const error = new WebTransportError(message, { source: 'session' })
  if (cause !== undefined) own(error, 'cause', cause)
  return error
}

/** The end of a stream by RESET or STOP with this code. */
export function streamError(message: string, code: number | null): WebTransportError {
  return new WebTransportError(message, { source: 'stream', streamErrorCode: code })
}

function own(error: object, name: string, value: unknown): void {
  Object.defineProperty(error, name, { value, configurable: true, writable: true })
}
