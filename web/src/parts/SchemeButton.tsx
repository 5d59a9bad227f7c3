import { ActionIcon, useMantineColorScheme } from "@mantine/core";
import { Icon } from "./Icon";

const NEXT = { auto: "light", light: "dark", dark: "auto" } as const;
const ICON = { auto: "auto", light: "sun", dark: "moon" } as const;
const NAME = { auto: "as the system", light: "light", dark: "dark" } as const;

export function SchemeButton() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return (
    <ActionIcon
      variant="default"
      size={40}
      onClick={() => setColorScheme(NEXT[colorScheme])}
      aria-label={`Colours: ${NAME[colorScheme]}. Change to ${NAME[NEXT[colorScheme]]}`}
    >
      <Icon name={ICON[colorScheme]} size={18} />
    </ActionIcon>
  );
}
