/** What cases say. A failed check is an Error whose message says what was expected. */

/** Milliseconds after which whatever a case waits for is not coming. */
export const patience = 20_000

/** Rejects if promise does not settle in time. */
export function within<T>(promise: PromiseLike<T>, what: string, limit = patience): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: nothing after ${limit} ms`)), limit)
    const settled = (): void => clearTimeout(timer)
    promise.then(
      value => {
        settled()
        resolve(value)
      },
      error => {
        settled()
        reject(error)
      },
    )
  })
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what)
}

export function equal<T>(got: T, want: T, what: string): void {
  if (!Object.is(got, want)) throw new Error(`${what}: got ${show(got)}, want ${show(want)}`)
}

export function sameBytes(got: Uint8Array, want: Uint8Array, what: string): void {
  equal(got.length, want.length, `${what}: length`)
  const at = got.findIndex((byte, i) => byte !== want[i])
  if (at >= 0) throw new Error(`${what}: byte ${at} is ${got[at]}, want ${want[at]}`)
}

/** What promise is rejected with. */
export async function rejection(promise: PromiseLike<unknown>, what: string): Promise<unknown> {
  let value: unknown
  try {
    value = await within(promise, what)
  } catch (error) {
    if (error instanceof Error && error.message.startsWith(`${what}: nothing after`)) throw error
    return error
  }
  throw new Error(`${what} was not rejected, but resolved with ${show(value)}`)
}

/** What f throws. */
export function thrown(f: () => unknown, what: string): unknown {
  try {
    f()
  } catch (error) {
    return error
  }
  throw new Error(`${what} did not throw`)
}

/** Whether error has this name, that of a DOMException or of an Error. */
export function named(error: unknown, name: string, what: string): void {
  equal((error as Error | null)?.name, name, `${what}: the name of ${show(error)}`)
}

export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}...` : value)
  return value instanceof Uint8Array ? `${value.length} bytes` : String(value)
}

/** Bytes that tell where they are, and which stream they are of. */
export function pattern(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 17 + (i >> 16) * 101 + seed * 57) & 0xff
  return bytes
}

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
export const bytesOf = (string: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(string)
