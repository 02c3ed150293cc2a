/** The WebSocket subprotocol: docs/websocket.md section 1. */
export const SUBPROTOCOL = 'towpath.capsule.v1'

/** What is offered for an application protocol; its characters are 0x20 to 0x7e. */
function subprotocolOf(protocol: string): string {
  return `${SUBPROTOCOL}.${btoa(protocol).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}`
}

/** What a client offers that speaks these application protocols, and can do without. */
export function offersOf(protocols: readonly string[]): string[] {
  return [...protocols.map(subprotocolOf), SUBPROTOCOL]
}

/** The application protocol of the selected subprotocol: "" for none, undefined if it was not offered. */
export function protocolOf(selected: string, protocols: readonly string[]): string | undefined {
  return selected === SUBPROTOCOL ? '' : protocols.find(protocol => subprotocolOf(protocol) === selected)
}
