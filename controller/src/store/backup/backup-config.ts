import { Type } from 'typebox'

export const BackupConfig = Type.Object(
  {
    dir: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 4_096,
        description:
          'Folder into which `firebreak backup` writes; state_dir/backups when left out. Better on another disk.',
      }),
    ),
  },
  {
    additionalProperties: false,
    default: {},
    description: 'Backups. They hold the keys of the deployment: keep them as safe as the state itself.',
  },
)
