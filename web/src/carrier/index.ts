export { CarrierSession, type CarrierOptions } from './session.js'
