import { Type } from 'typebox'

export const RespondConfig = Type.Object(
  {
    playbook_dirs: Type.Array(Type.String({ minLength: 1, maxLength: 4096 }), {
      default: [],
      maxItems: 32,
      description: 'Folders with playbooks (*.yml, *.yaml). Empty: the playbooks that ship with the controller.',
    }),
    automatic: Type.Boolean({
      default: true,
      description: 'Whether playbooks may act by themselves. Off: everything that would act waits for a person.',
    }),
    budgets_per_hour: Type.Object(
      {
        'isolate-host': Type.Integer({
          default: 5,
          minimum: 0,
          maximum: 100_000,
          description: 'Hosts that playbooks may isolate within an hour.',
        }),
        'release-host': Type.Integer({
          default: 100,
          minimum: 0,
          maximum: 100_000,
          description: 'Hosts that playbooks may release within an hour.',
        }),
        'kill-process': Type.Integer({
          default: 50,
          minimum: 0,
          maximum: 100_000,
          description: 'Processes that playbooks may end within an hour.',
        }),
      },
      {
        additionalProperties: false,
        default: {},
        description: 'Automatic actions an hour, all playbooks together; past it a person is asked.',
      },
    ),
    runs_at_once: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 4096,
      description: 'Runs that are advanced at the same time; the others wait their turn.',
    }),
    rescan_ms: Type.Integer({
      default: 30_000,
      minimum: 1000,
      maximum: 3_600_000,
      description: 'How often open incidents are looked through for a run that a lost message left out, ms.',
    }),
  },
  { additionalProperties: false, default: {}, description: 'Playbooks: what is done about an incident.' },
)
export type RespondConfig = Type.Static<typeof RespondConfig>
