/** Log names and figures of this room. */
import { Counter, Histogram, type Registry } from 'prom-client'

export type OrdersLogName =
  | 'orders.command.proposed'
  | 'orders.command.delivered'
  | 'orders.command.ended'
  | 'orders.command.silent'
  | 'orders.delivery.failed'
  | 'orders.watch.failed'
  | 'orders.receipt.refused'
  | 'orders.receipt.missing'
  | 'orders.receipt.ignored'

type Fields = Readonly<Record<string, unknown>>
export interface OrdersLog {
  info(name: OrdersLogName, fields: Fields): void
  warn(name: OrdersLogName, fields: Fields): void
  error(name: OrdersLogName, fields: Fields): void
}

export interface OrdersMetrics {
  readonly proposed: Counter<'type' | 'result'>
  readonly states: Counter<'type' | 'state'>
  readonly receipts: Counter<'result'>
  readonly deliverySeconds: Histogram
  readonly endSeconds: Histogram<'type'>
}

export function ordersMetrics(registry: Registry): OrdersMetrics {
  const registers = [registry]
  return {
    proposed: new Counter({
      name: 'firebreak_orders_proposals_total',
      help: 'Commands that were asked for, by what became of the asking.',
      labelNames: ['type', 'result'],
      registers,
    }),
    states: new Counter({
      name: 'firebreak_orders_commands_total',
      help: 'Commands that came into a state.',
      labelNames: ['type', 'state'],
      registers,
    }),
    receipts: new Counter({
      name: 'firebreak_orders_receipts_total',
      help: 'Receipts, by whether they were believed.',
      labelNames: ['result'],
      registers,
    }),
    deliverySeconds: new Histogram({
      name: 'firebreak_orders_delivery_seconds',
      help: 'From the asking to the delivery of a command whose host was connected.',
      buckets: [0.002, 0.01, 0.05, 0.2, 1, 5, 60],
      registers,
    }),
    endSeconds: new Histogram({
      name: 'firebreak_orders_end_seconds',
      help: 'From the delivery of a command to its end.',
      labelNames: ['type'],
      buckets: [0.02, 0.1, 0.5, 1, 2, 5, 15, 60],
      registers,
    }),
  }
}
