// The local HTTP door.

export { createDoor, type Door, type DoorOptions } from './door.ts'
export { DEFAULT_PORT, isLoopback, type Listening, type ListenOptions, listen } from './listen.ts'
