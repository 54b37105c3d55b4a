// The local HTTP door.

export { checkToken, isLoopback } from './access.ts'
export { createDoor, type Door, type DoorOptions } from './door.ts'
export { DEFAULT_PORT, type Listening, type ListenOptions, listen, type SocketLimits } from './listen.ts'
export { metricName } from './metrics.ts'
