export { WebTransportError } from './errors.js'
export type { ErrorSource, WebTransportErrorOptions } from './errors.js'
export type {
  Attempt,
  BidirectionalStream,
  CongestionControl,
  DatagramDuplexStream,
  DatagramStats,
  DatagramsWritable,
  MemoryReport,
  Outcome,
  ReceiveStream,
  ReceiveStreamStats,
  Reliability,
  SendGroup,
  SendOptions,
  SendStream,
  SendStreamOptions,
  SendStreamStats,
  SessionOfOneWay,
  Stats,
  TowpathOptions,
  TransportReport,
  Way,
  WebTransportCloseInfo,
  WebTransportHash,
  WebTransportOptionsOfW3C,
} from './types.js'
export { forget, WebTransport } from './webtransport.js'
